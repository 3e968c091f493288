"""The encoder of the linear variational autoencoder."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pyro_vae._pickling import Picklable
from pyro_vae.networks.standardize import Standardize

__all__ = ["LinearEncoder"]


class LinearEncoder(Picklable):
    """The encoder of the linear VAE, `x -> (V (x - loc) / scale, constant)` (Lucas et al. 2019, eq. 8).

    For `DiagonalNormalGuide`: the location is linear in x and the scale is the same for every row, as in the exact
    posterior of the linear Gaussian model.

    Args:
        loc: Shift of x, shape (data_dim,).
        scale: Scale of x, shape (data_dim,).
        latent_dim: Size of z.
    """

    def __init__(self, loc: Tensor, scale: Tensor, latent_dim: int) -> None:
        super().__init__()
        self.standardize = Standardize(loc, scale)
        self.linear = nn.Linear(len(loc), latent_dim)
        self.raw_scale = nn.Parameter(torch.zeros(latent_dim))

    def forward(self, x: Tensor) -> Tensor:
        """Return locations and raw scales, shape (..., 2 latent_dim)."""
        loc = self.linear(self.standardize(x))
        return torch.cat([loc, self.raw_scale.expand_as(loc)], dim=-1)
