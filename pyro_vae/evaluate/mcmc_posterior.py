"""Draws of p(z | x) by Hamiltonian Monte Carlo on all rows at once, as a reference for guides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from pyro_vae._checks import check_integer
from pyro_vae.evaluate._densities import Densities
from pyro_vae.evaluate.hmc import HMC
from pyro_vae.evaluate.posteriors import PosteriorDraws

__all__ = ["MCMCPosterior"]


@dataclass(frozen=True)
class MCMCPosterior:
    """Hamiltonian Monte Carlo, batched over rows and chains, with acceptance and adaptation per row.

    Chains start at draws of the guide. The result is samples without a density, so it cannot replace a guide.
    `constant_data` contains `accept_rate`, the mean acceptance probability of each row, and `divergences`, its number
    of divergent trajectories.

    Args:
        num_samples: Number of draws per chain.
        num_chains: Number of chains per row.
        num_warmup: Number of adaptation steps per chain.
        hmc: The sampler.

    Raises:
        InputError: If an argument is out of range.
    """

    num_samples: int = 500
    num_chains: int = 4
    num_warmup: int = 300
    hmc: HMC = field(default_factory=HMC)

    def __post_init__(self) -> None:
        check_integer(self.num_samples, "num_samples")
        check_integer(self.num_chains, "num_chains")
        check_integer(self.num_warmup, "num_warmup", minimum=0)

    def draw(
        self, model: Callable[..., Any], guide: Callable[..., Any], data: tuple[Tensor, ...], nesting: int = 1
    ) -> PosteriorDraws:
        """Return draws of each row's latents, from torch's random state.

        Args:
            model: A Pyro program with all its sites in the plate `"data"` and continuous latents.
            guide: A Pyro program with the model's latent sites, for the start.
            data: Arguments of both programs, rows first.
            nesting: Depth of nested plates in the programs.

        Raises:
            InputError: If a latent is discrete or outside the plate, or the density at the start is not finite.
        """
        densities = Densities(model, guide, data, nesting)
        generator = torch.Generator(data[0].device).manual_seed(int(torch.randint(2**62, ())))
        start = densities.from_guide(self.num_chains)
        found = self.hmc.sample(densities.log_joint, start, self.num_samples, self.num_warmup, generator)
        chains_first = found.z.transpose(0, 1)
        values, _ = densities.unpack(chains_first.flatten(0, 1))
        latents = {name: value.unflatten(0, chains_first.shape[:2]) for name, value in values.items()}
        by_row = {"accept_rate": found.accept_rate.mean(0), "divergences": found.divergences.sum(0)}
        return PosteriorDraws(latents, {}, by_row)
