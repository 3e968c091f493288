"""Preprocessing: maps from stored rows to x, as frozen dataclasses with a description."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from pyro_vae.data.binarization import BinarizeDynamic, BinarizeStatic
from pyro_vae.data.integer_levels import Dequantize, IntegerLevels, Rescale

__all__ = [
    "PREPROCESSINGS",
    "AsFloat",
    "BinarizeDynamic",
    "BinarizeStatic",
    "Centre",
    "Dequantize",
    "IntegerLevels",
    "Preprocessing",
    "Rescale",
]


class Preprocessing(Protocol):
    """A map from stored rows to x, which may draw noise u ~ U[0, 1), one per entry."""

    @property
    def description(self) -> str:
        """Description in words, such as "dequantized, 17 levels, x in [0, 1)"."""

    @property
    def random(self) -> bool:
        """Whether noise is drawn."""

    @property
    def redrawn(self) -> bool:
        """Whether training draws the noise again in every epoch; otherwise a single draw is used."""

    @property
    def levels(self) -> int | None:
        """The number of integer levels if bits per dimension are defined, else None."""

    @property
    def log_width(self) -> float | None:
        """Log of the width in x that stands for one integer, see `bits_per_dim`; None if `levels` is None.

        -log(levels) if noise fills the width, 0 if x is the integer itself and has a probability.
        """

    def __call__(self, rows: Tensor, noise: Tensor | None = None) -> Tensor:
        """Return x, float32 of shape (N, D), from stored `rows` (N, D) and `noise` (N, D) in [0, 1)."""

    def moments(self, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and variance (D,) of x from those of the stored rows, in expectation over the noise."""


@dataclass(frozen=True)
class AsFloat:
    """x = stored values as float32."""

    description: str = "as stored"
    random: ClassVar[bool] = False
    redrawn: ClassVar[bool] = False
    levels: ClassVar[None] = None
    log_width: ClassVar[None] = None

    def __call__(self, rows: Tensor, noise: Tensor | None = None) -> Tensor:
        """Return the rows (N, D) as float32."""
        return rows.float()

    def moments(self, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
        """Return both unchanged."""
        return mean, variance


@dataclass(frozen=True)
class Centre:
    """x = stored - offset, subtracted in float64 (integers: int64) before x is rounded to float32.

    For columns far from 0 relative to their spread, such as time stamps, which would lose digits in float32. A shift
    does not change the value of a density: log p(x) is log p(stored).

    Args:
        offset: One constant per column, D of them; 0 leaves a column as stored.
    """

    offset: tuple[float, ...]
    random: ClassVar[bool] = False
    redrawn: ClassVar[bool] = False
    levels: ClassVar[None] = None
    log_width: ClassVar[None] = None

    @property
    def description(self) -> str:
        """For example "as stored, minus a constant in 1 of 2 columns (densities are unchanged)"."""
        shifted = sum(offset != 0 for offset in self.offset)
        return f"as stored, minus a constant in {shifted} of {len(self.offset)} columns (densities are unchanged)"

    @cached_property
    def _offset(self) -> Tensor:
        return torch.tensor(self.offset, dtype=torch.float64)

    def __call__(self, rows: Tensor, noise: Tensor | None = None) -> Tensor:
        """Return rows - offset, float32 of shape (N, D), for `rows` (N, D) in float64 or integers."""
        offset = self._offset.to(rows.device)
        return (rows.double() - offset if rows.is_floating_point() else rows.long() - offset.long()).float()

    def moments(self, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean - offset, and the variance unchanged."""
        return mean - self._offset, variance


PREPROCESSINGS: dict[str, type] = {
    kind.__name__: kind
    for kind in (AsFloat, Centre, Dequantize, Rescale, IntegerLevels, BinarizeStatic, BinarizeDynamic)
}
"""All preprocessings by the name of their class: each is a frozen dataclass of plain values."""
