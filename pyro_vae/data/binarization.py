"""Binarization of grey values: one fixed draw, or a new draw in every epoch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from pyro_vae.data.integer_levels import Rescale

__all__ = ["BinarizeDynamic", "BinarizeStatic"]


@dataclass(frozen=True)
class _Binarize:
    """x = 1 where u < grey = (stored - low) / (high - low), else 0, with u ~ U[0, 1)."""

    high: int
    low: int = 0
    random: ClassVar[bool] = True
    levels: ClassVar[None] = None
    log_width: ClassVar[None] = None

    def __call__(self, rows: Tensor, noise: Tensor | None = None) -> Tensor:
        """Return x of zeros and ones, float32 (N, D), for `rows` (N, D) and `noise` (N, D) in [0, 1)."""
        assert noise is not None
        grey = Rescale(self.high, self.low)(rows)
        # The comparison writes floats directly; via booleans it takes six times as long.
        return torch.lt(noise, grey, out=torch.empty_like(grey))

    def moments(self, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
        """Return grey's mean m and m (1 - m), the moments of a Bernoulli variable."""
        grey, _ = Rescale(self.high, self.low).moments(mean, variance)
        return grey, grey * (1 - grey)


@dataclass(frozen=True)
class BinarizeStatic(_Binarize):
    """x = 1 where u < grey = (stored - low) / (high - low), else 0; a single draw, also in training.

    Args:
        high: The value that is always 1.
        low: The value that is always 0.
    """

    redrawn: ClassVar[bool] = False
    description: ClassVar[str] = "static binarization, own seed 0 (not Larochelle's)"


@dataclass(frozen=True)
class BinarizeDynamic(_Binarize):
    """x = 1 where u < grey = (stored - low) / (high - low), else 0; drawn again in every epoch of training.

    Validation and test have one fixed draw (Salakhutdinov & Murray 2008 binarize each time a row is used).

    Args:
        high: The value that is always 1.
        low: The value that is always 0.
    """

    redrawn: ClassVar[bool] = True
    description: ClassVar[str] = "dynamic binarization (one fixed draw, own seed 0, outside training)"
