"""Base class of likelihoods of integer levels."""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn.functional import softplus

from pyro_vae._checks import check_integer
from pyro_vae.likelihoods.base import Likelihood
from pyro_vae.networks.positive import UNIT

__all__ = ["IntegerLikelihood"]

MOST_LEVELS = 2**16
"""Beyond this, float32 has less than 8 bits to resolve a level."""
SMALLEST_SCALE = 0.1
"""Smallest scale, in levels: costs a constant column at most 0.014 nats, and keeps gradients bounded."""
PER_DEVIATION = math.sqrt(3) / math.pi
"""The scale of a logistic distribution with standard deviation 1."""


class IntegerLikelihood(Likelihood):
    """A likelihood with probabilities of integers: x is 0, 1 / (levels - 1), ..., 1, as produced by `IntegerLevels`.

    `log p(x | z)` is at most 0, so no floor is needed.

    Args:
        mean: Mean of each column of the training split, shape (data_dim,), with x in [0, 1].
        std: Standard deviation of each column, shape (data_dim,).
        levels: Number of integer levels.

    Raises:
        InputError: If `levels` is not between 1 and 65 536.
    """

    kind = "integer"

    def __init__(self, mean: Tensor, std: Tensor, levels: int) -> None:
        super().__init__(mean, std)
        self.levels = check_integer(levels, "levels", 1, MOST_LEVELS)

    @property
    def level_scale(self) -> Tensor:
        """Scale of the logistic distribution with each column's standard deviation, at least half a level."""
        step = 1 / max(self.levels - 1, 1)
        return (PER_DEVIATION * self.std).clamp_min(0.5 * step)

    def scale(self, raw: Tensor, typical: Tensor) -> Tensor:
        """Return scales of logistic distributions, about `typical` at `raw = 0`, at least 0.1 levels."""
        return SMALLEST_SCALE / max(self.levels - 1, 1) + typical * softplus(raw + UNIT)

    def extra_repr(self) -> str:
        """Return the arguments shown by `repr`."""
        return f"{self.data_dim}, levels={self.levels}"
