"""A learned autoregressive flow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyro.distributions as dist
import torch
from pyro.distributions import transforms
from torch import Tensor, nn

from pyro_vae._pickling import Picklable
from pyro_vae.distributions.invertible_maps import inverse_autoregressive

__all__ = ["FlowPrior", "flow_prior"]


class FlowPrior(Picklable):
    """`z = T^-1(e)`, `e ~ N(0, I)`, with autoregressive maps T of z (Chen et al. 2017, section 3.2).

    Scoring takes one pass; sampling is sequential over dimensions. The prior starts near the standard normal.

    Args:
        latent_dim: Size of z, at least 2.
        hidden: Widths of each map's masked network, at least `latent_dim`.
        num_maps: Number of maps.

    Raises:
        InputError: If a number is out of range.
    """

    loc: Tensor

    def __init__(self, latent_dim: int, hidden: Sequence[int] = (64,), num_maps: int = 2) -> None:
        super().__init__()
        self.maps = nn.ModuleList(inverse_autoregressive(latent_dim, 0, hidden, num_maps))
        self.register_buffer("loc", torch.zeros(latent_dim), persistent=False)

    def forward(self) -> dist.TorchDistribution:
        """Return p(z), event shape (latent_dim,)."""
        modules: Any = self.maps
        maps: list[transforms.AffineAutoregressive] = [module.condition(self.loc[:0]) for module in modules]
        noise = dist.Normal(self.loc, torch.ones_like(self.loc)).to_event(1)
        return dist.TransformedDistribution(noise, [one.inv for one in maps])


def flow_prior(latent_dim: int, guide: nn.Module, rows: Tensor) -> nn.Module:
    """Return an autoregressive flow."""
    return FlowPrior(latent_dim)
