"""The E-step of Monte Carlo EM: a chain of Hamiltonian Monte Carlo for each row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from pyro_vae._checks import NonFiniteLossError, check_integer, check_positive
from pyro_vae._context import accepted_context, row_by_row
from pyro_vae.data import Batches
from pyro_vae.evaluate.hmc import HMC
from pyro_vae.evaluate.leapfrog import HMCState, init
from pyro_vae.models.generative import GenerativeModel

__all__ = ["ChainSettings", "RowChains", "non_finite"]


@dataclass(frozen=True)
class ChainSettings:
    """Settings of the chains.

    Args:
        hmc: The transition.
        num_steps: Transitions in each E-step.
        num_warmup: Steps of adaptation in the first epoch.
        gain: Rate at which step sizes follow the acceptance at the peak of the learning rate; 0 keeps those of the
            first epoch.

    Raises:
        InputError: If an argument is out of range.
    """

    hmc: HMC = field(default_factory=HMC)
    num_steps: int = 1
    num_warmup: int = 20
    gain: float = 0.5

    def __post_init__(self) -> None:
        check_integer(self.num_steps, "num_steps")
        check_integer(self.num_warmup, "num_warmup", minimum=0)
        check_positive(self.gain, "gain", zero=True)


class RowChains:
    """A chain for each row, which continues over epochs.

    Args:
        settings: Transition, number of steps and adaptation.
        model: The generative program.
        data: The rows `(x, *context)`.
        batch_size: Rows per batch.
        seed: Seed of the order of the rows.
    """

    def __init__(
        self,
        settings: ChainSettings,
        model: GenerativeModel,
        data: tuple[Tensor, ...],
        batch_size: int,
        seed: int,
    ) -> None:
        self.settings, self.model, self.data, self.x = settings, model, data, data[0]
        x = self.x
        self.z = model.sample_prior(len(x), *data[1:])
        self.step_size = torch.full_like(self.z, settings.hmc.step_size)
        self.generator = torch.Generator(x.device).manual_seed(int(torch.randint(2**62, ())))
        index = torch.arange(len(x), device=x.device)
        self.batches = Batches(lambda rows, _: rows, index, batch_size, seed, x.device)

    def sweep(self, epoch: int, share: float, learn: Callable[[Tensor, str], None]) -> dict[str, float]:
        """Move the chain of each row, give `learn` their log p(x, z), and return the means over the epoch.

        Args:
            epoch: Counted from 0.
            share: Fraction of the peak learning rate.
            learn: Function of log p(x, z), shape (n,), and a description of the position in training.
        """
        sums = torch.zeros(3, dtype=torch.float64, device=self.x.device)
        for step, (rows,) in enumerate(self.batches.epoch(epoch)):
            where = f"epoch {epoch + 1}, step {step + 1}"
            accept_prob = self._move(rows, share, where, warm_up=epoch == 0)
            terms = *_log_probs(self.model, self._at(rows), self.z[rows]), accept_prob
            learn(terms[0] + terms[1], where)
            sums += torch.stack([term.detach().sum(dtype=torch.float64) for term in terms])
        means = (sums / len(self.x)).tolist()
        return dict(zip(("reconstruction", "log_prior", "accept_rate"), means, strict=True))

    def _move(self, rows: Tensor, share: float, where: str, *, warm_up: bool) -> Tensor:
        """Take the E-step of some rows; return their mean acceptance probabilities, shape (n,)."""
        settings, data, step_size = self.settings, self._at(rows), self.step_size[rows]

        def log_density(z: Tensor) -> Tensor:
            return sum(_log_probs(self.model, data, z), start=z.new_zeros(()))

        state = init(log_density, self.z[rows])
        _check_finite(self.model, data, state, where)
        if warm_up:
            state, step_size = settings.hmc.adapt(log_density, state.z, settings.num_warmup, self.generator)
        accepted = torch.zeros_like(state.log_density)
        for _ in range(settings.num_steps):
            state, info = settings.hmc.step(log_density, state, step_size, self.generator)
            excess = info.accept_prob - settings.hmc.target_accept
            step_size = step_size * (settings.gain * share * excess).exp().unsqueeze(-1)
            accepted += info.accept_prob / settings.num_steps
        self.z[rows], self.step_size[rows] = state.z, step_size
        return accepted

    def _at(self, rows: Tensor) -> tuple[Tensor, ...]:
        return tuple(part[rows] for part in self.data)


def _log_probs(model: GenerativeModel, data: tuple[Tensor, ...], z: Tensor) -> tuple[Tensor, Tensor]:
    """Return log p(x | z, context) and log p(z | context), each of shape (n,), in nats."""
    x, context = data[0], data[1:]
    prior = model.prior(*accepted_context(model.prior, context, beside=0))
    return model.likelihood(row_by_row(model.decoder, z, *context)).log_prob(x), prior.log_prob(z)


def _check_finite(model: GenerativeModel, data: tuple[Tensor, ...], state: HMCState, where: str) -> None:
    """Raise unless log density and gradient of all rows are finite at the current state."""
    if not (state.log_density.isfinite() & state.gradient.isfinite().all(-1)).all():
        _, prior = _log_probs(model, data, state.z)
        raise non_finite("log p(x, z)", where, f"site {'x' if prior.isfinite().all() else 'z'!r}")


def non_finite(what: str, where: str, first: str) -> NonFiniteLossError:
    """Return the error for a value that is not finite at a position of training."""
    return NonFiniteLossError(
        f"The {what} is not finite in {where}: first at {first}. Lower the learning rate, raise the scale floor, "
        "or look for extreme values in the data."
    )
