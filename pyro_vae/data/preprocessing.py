"""Preprocessing: maps from stored rows to x, as frozen dataclasses with a description."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Protocol

import torch
from torch import Tensor

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


@dataclass(frozen=True)
class Dequantize:
    """x = (stored - low + u) / levels with u ~ U[0, 1), so that x lies in [0, 1) and floor(levels x) = stored - low.

    A density p(x) then bounds the probability of the integers: log P(k) >= E_u[log p(x)] - D log(levels)
    (Theis, van den Oord & Bethge 2016, equation 7).

    Args:
        levels: Number of integers from the lowest to the highest.
        low: The lowest integer.
    """

    levels: int
    low: int = 0
    random: ClassVar[bool] = True
    redrawn: ClassVar[bool] = True

    @property
    def description(self) -> str:
        """For example "dequantized, 17 levels, x in [0, 1)"."""
        start = f" from {self.low}" if self.low else ""
        return f"dequantized, {self.levels} levels{start}, x in [0, 1)"

    @property
    def log_width(self) -> float:
        """-log(levels)."""
        return -math.log(self.levels)

    def __call__(self, rows: Tensor, noise: Tensor | None = None) -> Tensor:
        """Return x, float32 of shape (N, D), for integer `rows` (N, D) and `noise` (N, D) in [0, 1)."""
        assert noise is not None
        # float32 has 24 bits: k + u is off by at most levels 2^-25, the division and the product levels x by
        # levels 2^-24 each. Only u nearer to 0 or 1 than their sum is moved, so floor(levels x) is always k.
        edge = self.levels * (2.0**-25 + 2.0**-23)
        return noise.clamp(edge, 1 - edge).add_(_shifted(rows, self.low)).div_(self.levels)

    def moments(self, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
        """Return (mean - low + 1/2) / levels and (variance + 1/12) / levels^2, which include those of U[0, 1)."""
        return (mean - self.low + 1 / 2) / self.levels, (variance + 1 / 12) / self.levels**2


@dataclass(frozen=True)
class Rescale:
    """x = (stored - low) / (high - low): integers rescaled to [0, 1] without noise.

    A density of such x is unbounded above (Theis, van den Oord & Bethge 2016, section 3.1); published
    settings on x / 255 use it.

    Args:
        high: The highest integer.
        low: The lowest integer.
    """

    high: int
    low: int = 0
    random: ClassVar[bool] = False
    redrawn: ClassVar[bool] = False
    levels: ClassVar[None] = None
    log_width: ClassVar[None] = None

    @property
    def description(self) -> str:
        """For example "x / 255"."""
        top = f"(x {'-' if self.low > 0 else '+'} {abs(self.low)})" if self.low else "x"
        return f"{top} / {_span(self.low, self.high)}"

    def __call__(self, rows: Tensor, noise: Tensor | None = None) -> Tensor:
        """Return x, float32 of shape (N, D), for integer `rows` (N, D)."""
        return _shifted(rows, self.low).float().div_(_span(self.low, self.high))

    def moments(self, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
        """Return (mean - low) / (high - low) and variance / (high - low)^2."""
        span = _span(self.low, self.high)
        return (mean - self.low) / span, variance / span**2


@dataclass(frozen=True)
class IntegerLevels:
    """x = (stored - low) / (levels - 1): integers on [0, 1] without noise, which a likelihood gives probabilities.

    `log p(x)` is then the log of a probability, at most 0, and comparable with a dequantized density in bits per
    dimension only.

    Args:
        levels: Number of integers from the lowest to the highest.
        low: The lowest integer.
    """

    levels: int
    low: int = 0
    random: ClassVar[bool] = False
    redrawn: ClassVar[bool] = False
    log_width: ClassVar[float] = 0.0

    @property
    def description(self) -> str:
        """For example "probabilities of 256 levels, x / 255"."""
        return f"probabilities of {self.levels} levels, {self._rescale.description}"

    @property
    def _rescale(self) -> Rescale:
        return Rescale(self.low + self.levels - 1, self.low)

    def __call__(self, rows: Tensor, noise: Tensor | None = None) -> Tensor:
        """Return x, float32 of shape (N, D), for integer `rows` (N, D)."""
        return self._rescale(rows)

    def moments(self, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
        """Return (mean - low) / (levels - 1) and variance / (levels - 1)^2."""
        return self._rescale.moments(mean, variance)


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


def _span(low: int, high: int) -> int:
    return max(high - low, 1)  # constant data: all of it becomes 0


def _shifted(rows: Tensor, low: int) -> Tensor:
    # Subtracted in int64: the stored type may overflow, and float32 would lose digits.
    return rows.long() - low if low else rows


PREPROCESSINGS: dict[str, type] = {
    kind.__name__: kind
    for kind in (AsFloat, Centre, Dequantize, Rescale, IntegerLevels, BinarizeStatic, BinarizeDynamic)
}
"""All preprocessings by the name of their class: each is a frozen dataclass of plain values."""
