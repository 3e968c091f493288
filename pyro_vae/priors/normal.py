"""Normal priors: standard, and with learned location and scale."""

from __future__ import annotations

import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from pyro_vae._checks import check_integer
from pyro_vae._pickling import Picklable
from pyro_vae.networks.positive import UNIT

__all__ = [
    "SCALE_FLOOR",
    "DiagonalNormal",
    "StandardNormal",
    "diagonal_normal_prior",
    "standard_normal_prior",
]

SCALE_FLOOR = 1e-3
"""The smallest learned scale, in units of z, so that no component collapses onto the z of one row."""


class StandardNormal(Picklable):
    """`z ~ N(0, I)`.

    Args:
        latent_dim: Size of z.

    Raises:
        InputError: If `latent_dim` is not a positive whole number.

    Example:
        >>> from pyro_vae import StandardNormal
        >>> prior = StandardNormal(2)
        >>> prior().sample().shape
        torch.Size([2])
    """

    loc: Tensor
    scale: Tensor

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.latent_dim = check_integer(latent_dim, "latent_dim")
        # Buffers move with the module; constants need not be saved with the weights.
        self.register_buffer("loc", torch.zeros(latent_dim), persistent=False)
        self.register_buffer("scale", torch.ones(latent_dim), persistent=False)

    def forward(self) -> dist.TorchDistribution:
        """Return p(z), event shape (latent_dim,)."""
        return dist.Normal(self.loc, self.scale).to_event(1)

    def extra_repr(self) -> str:
        """Return the arguments shown by `repr`."""
        return f"{self.latent_dim}"


class DiagonalNormal(Picklable):
    """`z ~ N(loc, diag(scale^2))` with learned loc and scale, initially the standard normal.

    A linear first decoder layer could equally shift and scale z.

    Args:
        latent_dim: Size of z.

    Raises:
        InputError: If `latent_dim` is not a positive whole number.
    """

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        check_integer(latent_dim, "latent_dim")
        self.loc = nn.Parameter(torch.zeros(latent_dim))
        self.raw_scale = nn.Parameter(torch.zeros(latent_dim))

    def forward(self) -> dist.TorchDistribution:
        """Return p(z), event shape (latent_dim,)."""
        return dist.Normal(self.loc, SCALE_FLOOR + softplus(self.raw_scale + UNIT)).to_event(1)


def standard_normal_prior(latent_dim: int, guide: nn.Module, rows: Tensor) -> nn.Module:
    """Return the standard normal."""
    return StandardNormal(latent_dim)


def diagonal_normal_prior(latent_dim: int, guide: nn.Module, rows: Tensor) -> nn.Module:
    """Return a normal with learned location and scale."""
    return DiagonalNormal(latent_dim)
