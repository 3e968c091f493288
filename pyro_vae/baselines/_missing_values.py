"""Rows with missing values, grouped by which values are missing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pyro_vae._checks import check
from pyro_vae.baselines._gaussian import Array

Indices = NDArray[np.intp]

# Number of values in a block, 32 MiB of float64. Blocks limit the memory of arrays that have an entry for each pattern
# of missing values; smaller blocks would only add calls.
BLOCK = 2**22


def has_missing(x: Array) -> bool:
    """Whether NaN marks a value of x as missing; the sum is checked first because it needs no copy."""
    with np.errstate(invalid="ignore", over="ignore"):
        return bool(np.isnan(x.sum())) and bool(np.isnan(x).any())


def check_no_infinity(x: Array) -> None:
    """Raise `InputError` if x, in which NaN marks missing values, holds infinity."""
    bad = np.count_nonzero(np.isinf(x))
    check(bad == 0, f"Expected X without infinity; got {bad} infinite values. Mark missing values by NaN.")


def incomplete_rows(x: Array, result: Array) -> Indices:
    """The rows of x (N, D) with missing values, where `result` (N,), computed from every value, is not finite.

    Raises:
        InputError: If x holds infinity.
    """
    doubtful = np.flatnonzero(~np.isfinite(result))
    check_no_infinity(x[doubtful])
    return doubtful[np.isnan(x[doubtful]).any(axis=1)]


class Groups(NamedTuple):
    """Equal rows of a boolean matrix: `first[p]` is a row with pattern p, `inverse[n]` the pattern of row n."""

    first: Indices
    inverse: Indices

    @classmethod
    def of(cls, mask: NDArray[np.bool_]) -> Groups:
        """Group the rows of `mask`, shape (N, D)."""
        packed = np.packbits(mask, axis=1)
        _, first, inverse = np.unique(packed, axis=0, return_index=True, return_inverse=True)
        return cls(first, inverse.reshape(-1))

    def by_size(self) -> Iterator[tuple[Indices, Indices]]:
        """Yield (patterns (p,), members (p, m)): the patterns with m members each, for every m that occurs.

        One pattern of many rows and many patterns of one row each then both take one batch of matrix products.
        """
        sizes = np.bincount(self.inverse)
        order, starts = np.argsort(self.inverse, kind="stable"), np.cumsum(sizes) - sizes
        for size in np.unique(sizes):
            patterns = np.flatnonzero(sizes == size)
            yield patterns, order[starts[patterns][:, None] + np.arange(size)]


class Block(NamedTuple):
    """p patterns with m rows each.

    `rows` (p, m) are the row numbers in the data; `observed` (p, F) is 1 for observed groups of columns and 0 for
    missing ones; `values` (p, m, D) are x - mean, zero where missing.
    """

    rows: Indices
    observed: Array
    values: Array


class Incomplete:
    """Rows of shape (N, D) with NaN where a value is missing, divided into blocks of equal patterns.

    Columns that are missing in the same rows are grouped too. The cost of quantities that depend on the pattern alone
    is proportional to the number of different patterns, so it is negligible if nothing is missing.

    Args:
        x: Shape (N, D).
        mean: Offset that is subtracted from the values, shape (D,).
        rank: The latent size q, which determines the memory per row.
    """

    def __init__(self, x: Array, mean: Array, rank: int) -> None:
        self.x, self.mean, self.rank = x, mean, rank
        self.mask = ~np.isnan(x)
        self.rows = Groups.of(self.mask)
        patterns = self.mask[self.rows.first]
        self.columns = Groups.of(patterns.T)
        self.observed = patterns[:, self.columns.first]

    def blocks(self) -> Iterator[Block]:
        """Yield blocks of at most `BLOCK` values, including those of the p matrices of size q x q."""
        size, square = self.x.shape[1], (self.rank + 1) ** 2
        deep = max(1, BLOCK // size)
        for patterns, members in self.rows.by_size():
            wide = max(1, BLOCK // (size * min(deep, members.shape[1]) + square))
            for p in range(0, len(patterns), wide):
                for m in range(0, members.shape[1], deep):
                    rows = members[p : p + wide, m : m + deep]
                    values = np.nan_to_num(self.x[rows] - self.mean)
                    observed = self.observed[patterns[p : p + wide]].astype(np.float64)
                    yield Block(rows, observed, values)
