"""The Laplace likelihood: absolute distance."""

from __future__ import annotations

import math

import pyro.distributions as dist
from torch import Tensor

from pyro_vae.likelihoods.normal import GaussianLikelihood

__all__ = ["LaplaceLikelihood"]


class LaplaceLikelihood(GaussianLikelihood):
    """`x | z ~ Laplace(loc(z), s(z) / sqrt(2))` column by column: absolute (L1) instead of squared distance.

    s is the standard deviation, sqrt(2) times the scale parameter. The floor bounds s, as in the normal likelihoods.

    Args:
        mean: Mean of each column of the training split, shape (data_dim,), in data units.
        std: Standard deviation of each column, shape (data_dim,).
        scale_floor: The smallest standard deviation of a column, in data units, above 0.
    """

    def forward(self, outputs: Tensor) -> dist.TorchDistribution:
        """Return p(x | z) from `outputs`, shape (..., 2 data_dim)."""
        loc, raw_scale = outputs.chunk(2, dim=-1)
        return dist.Laplace(self.mean + self.std * loc, self.scale(raw_scale) / math.sqrt(2)).to_event(1)
