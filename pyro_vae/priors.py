"""Priors p(z): modules that return a distribution when called without arguments."""

from __future__ import annotations

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyro_vae._checks import check_integer

__all__ = ["StandardNormal"]


class StandardNormal(nn.Module):
    """`z ~ N(0, I)`.

    Args:
        latent_dim: Size of z.

    Raises:
        InputError: If `latent_dim` is not a positive whole number.
    """

    loc: Tensor
    scale: Tensor

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.latent_dim = check_integer(latent_dim, "latent_dim")
        # Buffers follow the module to its device and dtype; constants need no place in the saved weights.
        self.register_buffer("loc", torch.zeros(latent_dim), persistent=False)
        self.register_buffer("scale", torch.ones(latent_dim), persistent=False)

    def forward(self) -> dist.TorchDistribution:
        """Return p(z), event shape (latent_dim,)."""
        return dist.Normal(self.loc, self.scale).to_event(1)

    def extra_repr(self) -> str:
        """Return what `repr` shows of the module."""
        return f"{self.latent_dim}"
