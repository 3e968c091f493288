"""Data augmentation: random changes of training rows, drawn again in every epoch; not used in evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

__all__ = ["HorizontalFlip"]


@dataclass(frozen=True)
class HorizontalFlip:
    """Mirror each image left to right with probability 1/2, drawn for each row in each epoch.

    Training rows then have the density (p(x) + p(mirrored x)) / 2, for which the moments below are exact.

    Args:
        width: Pixels in a line; a row of x is (channels, height, width), flattened.
    """

    width: int
    description: ClassVar[str] = "training rows flipped left-right at random"

    def __call__(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Return the rows (n, D), mirrored at random; the generator must be on the same device."""
        flipped = torch.rand(len(rows), 1, generator=generator, device=rows.device) < 1 / 2
        return torch.where(flipped, self.mirrored(rows), rows)

    def mirrored(self, rows: Tensor) -> Tensor:
        """Return all rows (..., D) mirrored."""
        return rows.unflatten(-1, (-1, self.width)).flip(-1).flatten(-2)

    def moments(self, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and variance (D,) of rows that are mirrored at random, from those of the rows as stored."""
        other_mean, other_variance = self.mirrored(mean), self.mirrored(variance)
        half = (mean - other_mean) / 2
        return mean - half, (variance + other_variance) / 2 + half.square()
