"""The map from network outputs to scales."""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn.functional import softplus

__all__ = ["UNIT", "loc_and_scale"]

UNIT = math.log(math.e - 1)
"""softplus(UNIT) = 1, so that a network output of 0 gives a scale of 1."""


def loc_and_scale(outputs: Tensor, scale_floor: float) -> tuple[Tensor, Tensor]:
    """Return locations and scales, each (..., latent_dim), from outputs of shape (..., 2 latent_dim)."""
    loc, raw_scale = outputs.chunk(2, dim=-1)
    return loc, scale_floor + softplus(raw_scale + UNIT)
