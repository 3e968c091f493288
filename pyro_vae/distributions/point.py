"""A point mass at a reconstruction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyro.distributions as dist
from torch import Tensor

__all__ = ["Reconstructed"]


class Reconstructed(dist.Delta):
    """A point mass at the reconstruction of each row, with unit and logits for error functions.

    Args:
        value: The reconstruction, shape (..., data_dim), in data units.
        unit: Unit of differences from x, shape (data_dim,); None for data units.
        logits: Logits of values in (0, 1), shape (..., data_dim), or None.
    """

    def __init__(self, value: Tensor, unit: Tensor | None = None, logits: Tensor | None = None) -> None:
        super().__init__(value, event_dim=1)
        self.unit = unit
        self.logits = logits

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> Reconstructed:
        """Return the distribution with another batch shape."""
        shape = (*batch_shape, *self.event_shape)
        logits = None if self.logits is None else self.logits.expand(shape)
        return Reconstructed(self.v.expand(shape), self.unit, logits)
