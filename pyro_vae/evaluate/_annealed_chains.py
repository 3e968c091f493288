"""Annealed chains of each row from the start density to the posterior, and their weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pyro_vae._checks import check_integer
from pyro_vae._programs import evaluation_mode
from pyro_vae.evaluate._densities import Densities
from pyro_vae.evaluate._streaming import without_side_effects
from pyro_vae.evaluate.leapfrog import init
from pyro_vae.evaluate.temperatures import Annealing
from pyro_vae.progress import Bar, progress_bar
from pyro_vae.seeds import derive_seeds

__all__ = ["AnnealedChains", "AnnealedRows"]

SEPARATION = 20  # transitions, plus a tenth of the temperatures, that decorrelate chains started at one draw
KNOTS = 5  # temperatures at which step sizes are adapted; between them they are interpolated
PILOT_CHAINS = 4  # chains per row for adaptation, discarded afterwards


@dataclass(frozen=True)
class AnnealedRows:
    """Annealing of rows in batches; arguments as for `annealed_log_likelihood`."""

    annealing: Annealing
    model: Callable[..., Any]
    guide: Callable[..., Any]
    data: tuple[Tensor, ...]
    batch_size: int
    max_plate_nesting: int
    seed: int
    progress: bool

    def __call__(
        self, work: Callable[[AnnealedChains, slice], tuple[Tensor, ...]], directions: int = 1
    ) -> list[Tensor]:
        """Run `work` on the tuned chains of each batch, and concatenate the results on the CPU.

        Args:
            work: Function of the chains of a batch and the slice of their rows.
            directions: Number of passes of `work` through the temperatures, for the progress bar.
        """
        check_integer(self.batch_size, "batch_size")
        num_rows, parts = len(self.data[0]), []
        total = num_rows * self.annealing.num_temperatures * directions
        bar = progress_bar(total, "temperatures", "annealing", shown=self.progress)
        with without_side_effects(self.data), evaluation_mode(self.model, self.guide), bar:
            for start in range(0, num_rows, self.batch_size):
                rows = slice(start, min(start + self.batch_size, num_rows))
                for_programs, for_chains = derive_seeds(self.seed, start, count=2)
                torch.manual_seed(for_programs)
                batch = tuple(values[rows] for values in self.data)
                densities = Densities(self.model, self.guide, batch, self.max_plate_nesting)
                chains = AnnealedChains(self.annealing, densities, for_chains, bar)
                parts.append([part.cpu() for part in work(chains, rows)])
        return [torch.cat(part) for part in zip(*parts, strict=True)]


class AnnealedChains:
    """Chains of one batch of rows along `log f_t = log start + b_t (log p(x, z) - log start)`.

    Step sizes are adapted on separate chains, which are discarded, and then fixed: the weight of an adaptive chain is
    not known.

    Args:
        annealing: The settings.
        densities: The programs on the batch.
        seed: Seed of the noise of the transitions.
        bar: Progress bar, advanced by the number of rows at each temperature.
    """

    def __init__(self, annealing: Annealing, densities: Densities, seed: int, bar: Bar) -> None:
        self.annealing, self.densities, self.bar = annealing, densities, bar
        self.temperatures = annealing.temperatures
        self.generator = torch.Generator(densities.data[0].device).manual_seed(seed)
        self.step_sizes = self._tuned()

    def forward(self) -> tuple[Tensor, Tensor]:
        """Anneal from the start to the posterior.

        Returns:
            log w, shape (num_chains, N), float64, and the mean acceptance probability, shape (N,).
        """
        last, u = self.annealing.num_temperatures, self._start(self.annealing.num_chains)
        log_weight, accepted = self._increment(u, 1), []
        for t in range(1, last):
            u, accept_prob = self._move(u, t)
            accepted.append(accept_prob)
            log_weight += self._increment(u, t + 1)
        return log_weight, torch.stack(accepted).mean(0)

    def backward(self, u: Tensor) -> Tensor:
        """Anneal from exact draws of the posterior to the start.

        Args:
            u: Shape (1, N, size), the start of all chains of a row. Transitions at the posterior first decorrelate
                them.

        Returns:
            log w, shape (num_chains, N), float64.
        """
        last = self.annealing.num_temperatures
        u = u.expand(self.annealing.num_chains, -1, -1)
        for _ in range(SEPARATION + last // 10):
            u, _ = self._move(u, last)
        log_weight = self._increment(u, last)
        for t in range(last - 1, 0, -1):
            u, _ = self._move(u, t)
            log_weight += self._increment(u, t)
        return log_weight

    def _start(self, num_chains: int) -> Tensor:
        d = self.densities
        return d.from_guide(num_chains) if self.annealing.start == "guide" else d.from_prior(num_chains)

    def _start_and_ratio(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Return the log density of the start, and log p(x, z) minus it, each (num_chains, N)."""
        likelihood, prior = self.densities.log_likelihood_and_prior(u)
        if self.annealing.start == "prior":
            return prior, likelihood
        guide = self.densities.log_guide(u)
        return guide, likelihood + prior - guide

    @torch.no_grad()
    def _increment(self, u: Tensor, t: int) -> Tensor:
        """Return log f_t - log f_(t-1) at u, (num_chains, N), float64."""
        self.bar.update(u.shape[1])
        _, ratio = self._start_and_ratio(u)
        return (self.temperatures[t] - self.temperatures[t - 1]) * ratio.double()

    def _target(self, t: int) -> Callable[[Tensor], Tensor]:
        def log_density(u: Tensor) -> Tensor:
            start, ratio = self._start_and_ratio(u)
            return start + self.temperatures[t] * ratio

        return log_density

    def _move(self, u: Tensor, t: int) -> tuple[Tensor, Tensor]:
        """Take one transition with f_t invariant; also return the acceptance averaged over chains, shape (N,)."""
        target = self._target(t)
        state, info = self.annealing.hmc.step(target, init(target, u), self.step_sizes[t], self.generator)
        return state.z, info.accept_prob.mean(0)

    def _tuned(self) -> Tensor:
        """Return step sizes at each temperature, shape (num_temperatures + 1, N, size)."""
        last, u, found = self.annealing.num_temperatures, self._start(PILOT_CHAINS), []
        for t in torch.linspace(0, last, KNOTS).round().long().tolist():
            warmup = self.annealing.num_warmup
            state, step_size = self.annealing.hmc.adapt(self._target(t), u, warmup, self.generator)
            u = state.z
            found.append(step_size.log())
        return _interpolated(torch.stack(found), last + 1).exp()


def _interpolated(knots: Tensor, length: int) -> Tensor:
    """Interpolate `length` values linearly between equally spaced ones along the first dimension."""
    place = torch.linspace(0, len(knots) - 1, length, dtype=knots.dtype, device=knots.device)
    left = place.floor().long().clamp_max(len(knots) - 2)
    return torch.lerp(knots[left], knots[left + 1], (place - left).reshape(-1, *(1,) * (knots.ndim - 1)))
