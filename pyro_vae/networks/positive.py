"""The map from a network's output to a scale."""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn.functional import softplus

__all__ = ["UNIT", "loc_and_scale"]

UNIT = math.log(math.e - 1)
"""softplus(UNIT) = 1: a network's output of zero then means a scale of one."""


def loc_and_scale(outputs: Tensor, scale_floor: float) -> tuple[Tensor, Tensor]:
    """Return locations and scales, each (..., latent_dim), from outputs of shape (..., 2 latent_dim)."""
    loc, raw_scale = outputs.chunk(2, dim=-1)
    return loc, scale_floor + softplus(raw_scale + UNIT)
