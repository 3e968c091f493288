"""Draws of p(z | x): the guide's, resampled, or Pyro's No-U-Turn sampler's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
from pyro.infer import MCMC, NUTS
from pyro.infer.autoguide.initialization import init_to_sample
from torch import Tensor

from pyro_vae._checks import check_integer
from pyro_vae.evaluate._many_samples import rows_last
from pyro_vae.evaluate._unbounded import unbounded_sites
from pyro_vae.objectives.rows import draw
from pyro_vae.objectives.sites import WithoutScales, sample_sites

__all__ = ["NUTSPosterior", "PosteriorDraws", "PosteriorSampler", "ResampledPosterior", "joined", "resample"]

CHUNK = 20_000  # pairs of sample and row that the programs run on at once


class PosteriorDraws(NamedTuple):
    """Draws of p(z | x), and what is to be known of how they came about."""

    latents: dict[str, Tensor]
    """By site, shape (num_chains, num_samples, N, *event)."""
    by_draw: dict[str, Tensor]
    """Shape (num_chains, num_samples): ArviZ's `sample_stats`."""
    by_row: dict[str, Tensor]
    """Shape (N,): ArviZ's `constant_data`."""


class PosteriorSampler(Protocol):
    """Draws from the posterior of given rows."""

    def draw(
        self, model: Callable[..., Any], guide: Callable[..., Any], data: tuple[Tensor, ...], nesting: int
    ) -> PosteriorDraws:
        """Return draws of each row's latents; `nesting` is how deep plates are nested in the programs."""
        ...


@dataclass(frozen=True)
class ResampledPosterior:
    """Draws of the guide, resampled by their importance weights (Rubin 1988).

    Each chain has proposals of its own, so R-hat over chains tells where they are too few. `constant_data` gets
    `importance_ess`, the effective number of proposals of each row over all chains.

    Args:
        num_samples: Draws of each chain.
        num_chains: Chains.
        num_proposals: Draws of the guide that each chain chooses from.

    Raises:
        InputError: An argument is out of range.
    """

    num_samples: int = 500
    num_chains: int = 4
    num_proposals: int = 5000

    def __post_init__(self) -> None:
        check_integer(self.num_samples, "num_samples")
        check_integer(self.num_chains, "num_chains")
        check_integer(self.num_proposals, "num_proposals", minimum=2)

    def draw(
        self, model: Callable[..., Any], guide: Callable[..., Any], data: tuple[Tensor, ...], nesting: int
    ) -> PosteriorDraws:
        """Return draws of each row's latents, and the effective number of proposals."""
        chains, ess = [], torch.zeros(len(data[0]), dtype=torch.float64, device=data[0].device)
        for _ in range(self.num_chains):
            latents, log_weights = _proposals(model, guide, data, self.num_proposals, nesting)
            weights = log_weights.softmax(0)
            ess += 1 / weights.square().sum(0)
            chosen = resample(weights, self.num_samples)
            chains.append({name: _pick(value, chosen) for name, value in latents.items()})
        stacked = {name: torch.stack([chain[name] for chain in chains]) for name in chains[0]}
        return PosteriorDraws(stacked, {}, {"importance_ess": ess})


@dataclass(frozen=True)
class NUTSPosterior:
    """Pyro's No-U-Turn sampler, on all rows at once: a gold standard for a few rows, which knows no guide.

    Chains start at draws of the prior.

    Args:
        num_samples: Draws of each chain, at least 4, for Pyro's diagnostics.
        num_chains: Chains, one after another.
        num_warmup: Steps of adaptation before.

    Raises:
        InputError: An argument is out of range.
    """

    num_samples: int = 500
    num_chains: int = 4
    num_warmup: int = 500

    def __post_init__(self) -> None:
        check_integer(self.num_samples, "num_samples", minimum=4)
        check_integer(self.num_chains, "num_chains")
        check_integer(self.num_warmup, "num_warmup")

    @torch.enable_grad()
    def draw(
        self, model: Callable[..., Any], guide: Callable[..., Any], data: tuple[Tensor, ...], nesting: int
    ) -> PosteriorDraws:
        """Return draws of each row's latents, and which of them ended a divergent trajectory.

        Raises:
            InputError: If a latent is discrete, or has a support that depends on another.
        """
        with torch.random.fork_rng(devices=sorted({part.device.index or 0 for part in data if part.is_cuda})):
            unbounded_sites(model, data, nesting)
        chains, diverging = [], torch.zeros(self.num_chains, self.num_samples, dtype=torch.bool)
        for chain in range(self.num_chains):
            kernel = NUTS(WithoutScales()(model), init_strategy=init_to_sample, max_plate_nesting=nesting)
            mcmc = MCMC(
                kernel, num_samples=self.num_samples, warmup_steps=self.num_warmup, disable_progbar=True
            )
            mcmc.run(*data)
            diverging[chain, mcmc.diagnostics()["divergences"]["chain 0"]] = True
            chains.append(mcmc.get_samples())
        n = len(data[0])
        stacked = {
            name: torch.stack([chain[name] for chain in chains]).detach().unflatten(1, (self.num_samples,))
            for name in chains[0]
        }
        placed = {name: v.reshape(*v.shape[:2], n, *v.shape[2 + nesting :]) for name, v in stacked.items()}
        return PosteriorDraws(placed, {"diverging": diverging}, {})


def joined(parts: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Join the first dimensions of several draws of the same sites."""
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def _proposals(
    model: Callable[..., Any], guide: Callable[..., Any], data: tuple[Tensor, ...], count: int, nesting: int
) -> tuple[dict[str, Tensor], Tensor]:
    """Return draws of the guide, each (count, N, *event), and their log weights, (count, N), float64."""
    step, values, log_weights = max(2, CHUNK // len(data[0])), [], []
    for start in range(0, count, step):
        size = max(2, min(step, count - start))  # a single particle would come without its dimension
        draws = draw(model, guide, *data, num_particles=size, max_plate_nesting=nesting)
        latent = [site for site in sample_sites(draws.model_trace) if not site["is_observed"]]
        values.append({site["name"]: rows_last(site) for site in latent})
        log_weights.append(draws.reported.log_weights.double())
    return joined(values), torch.cat(log_weights)


def resample(weights: Tensor, count: int) -> Tensor:
    """Choose `count` proposals of each row in random order, systematically: each by its weight, to within one.

    Args:
        weights: Shape (num_proposals, N), each column of sum 1.
        count: How many.

    Returns:
        Their numbers, shape (count, N).
    """
    n = weights.shape[1]
    offset = torch.rand(n, 1, dtype=weights.dtype, device=weights.device)
    places = (torch.arange(count, device=weights.device) + offset) / count
    chosen = torch.searchsorted(weights.T.cumsum(1), places).clamp_max(len(weights) - 1)
    order = torch.rand(n, count, device=weights.device).argsort(1)
    return chosen.gather(1, order).T


def _pick(values: Tensor, chosen: Tensor) -> Tensor:
    """Return values, shape (num_proposals, N, *event), at chosen numbers, shape (count, N), row by row."""
    return values[chosen, torch.arange(values.shape[1], device=values.device)]
