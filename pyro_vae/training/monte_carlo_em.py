"""Monte Carlo EM: training without a guide, by Hamiltonian Monte Carlo."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from pyro_vae._checks import check, check_integer, check_rows
from pyro_vae._inputs import entry_for
from pyro_vae._programs import local_parameters, restore_devices
from pyro_vae.data.adapters import as_blocks
from pyro_vae.models.generative import GenerativeModel
from pyro_vae.progress import progress_bar
from pyro_vae.training import FitResult, Schedule, resolve_device
from pyro_vae.training.row_chains import ChainSettings, RowChains, non_finite
from pyro_vae.training.stepper import OptimizerFactory

__all__ = ["MonteCarloEM", "MonteCarloEMResult"]


@dataclass(frozen=True, eq=False)
class MonteCarloEMResult(FitResult):
    """The result of `MonteCarloEM.fit`: a `FitResult` with the chains.

    In `history` the terms of "train" (and "validation") are means over the rows, at the draws of the epoch:
    "reconstruction", log p(x | z), and "log_prior", log p(z), both in nats per example, and "accept_rate".
    There is no "elbo", since no bound on log p(x) is computed.

    Args:
        z: One draw of p(z | x) for each training row, in the order of the rows, shape (N, latent_dim).
        step_size: Final step size of the chain of each row, shape (N, latent_dim).
    """

    z: Tensor = field(repr=False)
    step_size: Tensor = field(repr=False)


@dataclass(frozen=True)
class MonteCarloEM(ChainSettings):
    """Monte Carlo EM (Wei & Tanner 1990), the comparison method of Kingma & Welling 2014 (section 5, appendix E).

    For each batch of rows x, with the current parameters:

        E-step: z_n moves by Hamiltonian Monte Carlo on p(z | x_n), each row n by itself;
        M-step: the parameters take a step of the optimizer along the gradient of mean_n log p(x_n, z_n).

    The gradient of log p(x) is that of log p(x, z) in expectation over p(z | x), so the M-step has
    no bias from a guide. The chain of a row continues over epochs. As the learning rate decreases to 0 the parameters
    converge and the chains reach their posterior: a stochastic approximation with Markov chain noise (Gu & Kong 1998).

    All chains start at draws of the prior and adapt their step sizes in the first epoch, by `HMC.adapt`. The posterior
    narrows as the decoder learns, so the step size e of each row then follows its acceptance probability a (Andrieu &
    Thoms 2008, algorithm 4): `log e += gain (a - target_accept)`. On the digits (100 epochs), repeating the warm-up in
    epochs 2, 4, 8, ... took twice the gradients without a higher likelihood, and acceptance fell in between. The gain
    decreases with the learning rate, because step sizes that depend on the current z bias the distribution of the
    chain.

    A row costs `num_steps * num_leapfrog + 2` gradients of the decoder per epoch; in SVI it costs one.

    The trained model is evaluated with a guide that is fitted to it while the model is frozen:

        MonteCarloEM().fit(model, train, epochs=200)
        fit(model.requires_grad_(False), guide, train, validation)
        estimate_elbo(model, guide, as_blocks(test), num_particles=10)

    Args:
        hmc: The transition.
        num_steps: Transitions in each E-step.
        num_warmup: Steps of adaptation in the first epoch.
        gain: Rate at which step sizes follow the acceptance at the peak of the learning rate; 0 keeps those of the
            first epoch.

    Raises:
        InputError: If an argument is out of range.
    """

    def fit(
        self,
        model: GenerativeModel,
        train: Any,
        validation: Any = None,
        *,
        epochs: int = 100,
        batch_size: int = 128,
        optimizer: OptimizerFactory | None = None,
        schedule: Schedule | None = None,
        device: str = "auto",
        seed: int | None = None,
        progress: bool = True,
    ) -> MonteCarloEMResult:
        """Train the model, which has the weights of the last epoch afterwards.

        It is in evaluation mode throughout, because with dropout or batch statistics the density of a row is not
        defined. The global random state is restored.

        Args:
            model: A generative program; those of its parameters that require gradients are trained.
            train: Rows, with context if the model takes one, in any container that `pyro_vae.fit` takes, in data units.
                All are on the device; a split is used under its fixed draw of noise, as for the exact baselines,
                because new noise would change the target of the chains.
            validation: Rows in the same containers, or None. The model is not trained on the chains of these rows.
            epochs: Number of passes over the training rows.
            batch_size: Rows per step.
            optimizer: Function from the parameters to a `torch.optim.Optimizer`; Adam at 1e-3 by default.
            schedule: The learning rate over time; half a cosine down to 0 by default.
            device: "auto", "cpu" or "cuda"; the model is moved back afterwards, and chains are returned on the CPU.
            seed: Seed of the order of rows and of all noise; drawn from torch's random state if None.
            progress: Whether to show a progress bar on stderr.

        Returns:
            The history and the chains.

        Raises:
            InputError: If an argument or the data is invalid.
            NonFiniteLossError: If log p(x, z) or its gradient is not finite; the weights are still finite.
        """
        check_integer(epochs, "epochs")
        seed = int(torch.randint(2**62, ())) if seed is None else check_integer(seed, "seed", 0)
        place = resolve_device(device)
        check(
            isinstance(model, GenerativeModel),
            f"Expected a GenerativeModel, with prior, decoder and likelihood; got {type(model).__name__}.",
        )
        splits = {"train": train} if validation is None else {"train": train, "validation": validation}
        with torch.random.fork_rng(), local_parameters(), restore_devices(model):
            model.to(place).eval()
            rows = {name: _rows(data, name, model, place) for name, data in splits.items()}
            torch.manual_seed(seed)
            chains = {name: RowChains(self, model, data, batch_size, seed) for name, data in rows.items()}
            total = epochs * len(chains["train"].batches)
            maximize = _Maximizer(
                model,
                optimizer or partial(torch.optim.Adam, lr=1e-3, fused=True),
                partial(schedule or Schedule(), total=total),
            )
            return _run(chains, maximize, epochs, progress)


class _Maximizer:
    """The M-step: one optimizer step on the mean of log p(x, z)."""

    def __init__(
        self, model: GenerativeModel, optimizer: OptimizerFactory, share: Callable[[int], float]
    ) -> None:
        self.named = {name: p for name, p in model.named_parameters() if p.requires_grad}
        check(bool(self.named), "Expected a model with parameters to train; got none.")
        self.optimizer = optimizer(list(self.named.values()))
        self.peaks = [group["lr"] for group in self.optimizer.param_groups]
        self.share = share
        self.step = 0

    def __call__(self, log_joint: Tensor, where: str) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        (-log_joint.mean()).backward()
        self._check_gradients(where)
        for group, peak in zip(self.optimizer.param_groups, self.peaks, strict=True):
            group["lr"] = peak * self.share(self.step)
        self.optimizer.step()
        self.step += 1

    def _check_gradients(self, where: str) -> None:
        gradients = {name: p.grad for name, p in self.named.items() if p.grad is not None}
        if not nn.utils.get_total_norm(gradients.values()).isfinite():
            bad = next(
                (name for name, gradient in gradients.items() if not gradient.isfinite().all()), "none"
            )
            raise non_finite("gradient of log p(x, z)", where, f"parameter {bad!r}")


def _run(
    chains: dict[str, RowChains], maximize: _Maximizer, epochs: int, progress: bool
) -> MonteCarloEMResult:
    """Alternate both steps over epochs; validation rows have E-steps only."""
    train, history = chains["train"], []
    started, seconds = time.monotonic(), 0.0
    with progress_bar(epochs * len(train.x), "rows", "Monte Carlo EM", shown=progress) as bar:

        def learn(log_joint: Tensor, where: str) -> None:
            maximize(log_joint, where)
            bar.update(len(log_joint))

        for epoch in range(epochs):
            share = maximize.share(maximize.step)
            line: dict[str, Any] = {"epoch": epoch + 1}
            for name, part in chains.items():
                line[name] = part.sweep(epoch, share, learn if part is train else _skip_m_step)
            line["learning_rate"] = maximize.optimizer.param_groups[0]["lr"]
            seconds = time.monotonic() - started
            history.append(line | {"seconds": round(seconds, 3)})
            bar.set_postfix_str(
                ", ".join(f"{name} {value:.3g}" for name, value in line["train"].items()), refresh=False
            )
    return MonteCarloEMResult(history, epochs, "epochs", seconds, train.z.cpu(), train.step_size.cpu())


def _skip_m_step(log_joint: Tensor, where: str) -> None:
    """Do nothing: validation rows have no M-step."""


def _rows(data: Any, name: str, model: GenerativeModel, device: torch.device) -> tuple[Tensor, ...]:
    """Return all rows `(x, *context)` on the device, in the model's precision, x of shape (N, data_dim)."""
    entry = entry_for(model)
    blocks = as_blocks(data, device, entry=entry)
    x, *context = (torch.cat(column) for column in zip(*blocks, strict=True))
    check_rows(x, model.likelihood.data_dim, name)
    # Splits give float32, independent of the model.
    return x.to(entry.dtype or x.dtype), *context
