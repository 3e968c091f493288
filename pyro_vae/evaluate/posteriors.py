"""Draws of p(z | x): resampled from the guide, or by Pyro's No-U-Turn sampler."""

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

CHUNK = 20_000  # pairs of sample and row per run of the programs


class PosteriorDraws(NamedTuple):
    """Draws of p(z | x), with diagnostics."""

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
        """Return draws of each row's latents; `nesting` is the depth of nested plates in the programs."""
        ...


@dataclass(frozen=True)
class ResampledPosterior:
    """Draws of the guide, resampled by their importance weights (Rubin 1988).

    Each chain has its own proposals, so R-hat over chains detects too few proposals. `constant_data` contains
    `importance_ess`, the effective number of proposals of each row over all chains.

    Args:
        num_samples: Number of draws per chain.
        num_chains: Number of chains.
        num_proposals: Number of proposals per chain.

    Raises:
        InputError: If an argument is out of range.
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
    """Pyro's No-U-Turn sampler on all rows at once: a reference for a few rows, independent of the guide.

    Chains start at draws of the prior.

    Args:
        num_samples: Number of draws per chain, at least 4 for Pyro's diagnostics.
        num_chains: Number of chains, run in sequence.
        num_warmup: Number of warm-up steps.

    Raises:
        InputError: If an argument is out of range.
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
        """Return draws of each row's latents, and a mask of divergent transitions.

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
    """Concatenate several draws of the same sites along the first dimension."""
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def _proposals(
    model: Callable[..., Any], guide: Callable[..., Any], data: tuple[Tensor, ...], count: int, nesting: int
) -> tuple[dict[str, Tensor], Tensor]:
    """Return draws of the guide, each (count, N, *event), and their log weights, (count, N), float64."""
    step, values, log_weights = max(2, CHUNK // len(data[0])), [], []
    for start in range(0, count, step):
        size = max(2, min(step, count - start))  # a single particle would have no particle dimension
        draws = draw(model, guide, *data, num_particles=size, max_plate_nesting=nesting)
        latent = [site for site in sample_sites(draws.model_trace) if not site["is_observed"]]
        values.append({site["name"]: rows_last(site) for site in latent})
        log_weights.append(draws.reported.log_weights.double())
    return joined(values), torch.cat(log_weights)


def resample(weights: Tensor, count: int) -> Tensor:
    """Systematic resampling of `count` proposals per row, in random order.

    Args:
        weights: Shape (num_proposals, N), each column with sum 1.
        count: Number of draws.

    Returns:
        Their indices, shape (count, N).
    """
    n = weights.shape[1]
    offset = torch.rand(n, 1, dtype=weights.dtype, device=weights.device)
    places = (torch.arange(count, device=weights.device) + offset) / count
    chosen = torch.searchsorted(weights.T.cumsum(1), places).clamp_max(len(weights) - 1)
    order = torch.rand(n, count, device=weights.device).argsort(1)
    return chosen.gather(1, order).T


def _pick(values: Tensor, chosen: Tensor) -> Tensor:
    """Return values, shape (num_proposals, N, *event), at chosen indices, shape (count, N), for each row."""
    return values[chosen, torch.arange(values.shape[1], device=values.device)]
