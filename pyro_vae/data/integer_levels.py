"""Preprocessings of integers: dequantized, rescaled, or as levels with probabilities."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

__all__ = ["Dequantize", "IntegerLevels", "Rescale"]


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


def _span(low: int, high: int) -> int:
    """Return high - low, or 1 for constant data, which then becomes 0."""
    return max(high - low, 1)


def _shifted(rows: Tensor, low: int) -> Tensor:
    """Return rows - low, subtracted in int64: the stored type may overflow, and float32 would lose digits."""
    return rows.long() - low if low else rows
