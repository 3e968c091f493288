"""A point mass at a reconstruction: x without noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyro.distributions as dist
from torch import Tensor

__all__ = ["Reconstructed"]


class Reconstructed(dist.Delta):
    """A point mass at the reconstruction of each row, with what an error needs beside it.

    Args:
        value: The reconstruction, shape (..., data_dim), in data units.
        unit: What differences from x are divided by, shape (data_dim,); None leaves them in data units.
        logits: Of the values, where they are shares in (0, 1), shape (..., data_dim).
    """

    def __init__(self, value: Tensor, unit: Tensor | None = None, logits: Tensor | None = None) -> None:
        super().__init__(value, event_dim=1)
        self.unit = unit
        self.logits = logits

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> Reconstructed:
        """Return the same for a larger batch shape."""
        shape = (*batch_shape, *self.event_shape)
        logits = None if self.logits is None else self.logits.expand(shape)
        return Reconstructed(self.v.expand(shape), self.unit, logits)
