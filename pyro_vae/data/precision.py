"""Detection, on a sample of rows, of columns that lose digits in float32, and the offsets that preserve them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pyro_vae.data.stored import CHUNK, column_list

__all__ = ["Offsets", "find_offsets", "offsets_of_columns"]

SAMPLE = 4096
MATERIAL = 1e-3
"""Rounding steps of float32 up to this share of a column's spread are negligible."""
ROUNDING = 8
"""Differences of fewer units in the last place of float64 count as rounding."""


@dataclass(frozen=True)
class Offsets:
    """Offsets that are subtracted from the columns before rounding to float32.

    Attributes:
        values: One constant per column, 0 if float32 holds the digits of the column as stored.
        centred: The columns with an offset.
        coarse: Columns among these that still lose digits in float32.
    """

    values: tuple[float, ...]
    centred: tuple[int, ...]
    coarse: tuple[int, ...]

    def notes(self, names: Sequence[str] | None) -> tuple[str, ...]:
        """Return notes on the columns that were shifted."""
        found = [
            f"float32 would round away digits of {column_list(self.centred, names)}, whose values lie far from 0: "
            "a constant near their median was subtracted in float64 first. This leaves densities unchanged.",
        ]
        if self.coarse:
            found.append(
                f"Even then float32 cannot hold all digits of {column_list(self.coarse, names)}: values that differ "
                "become equal. Split such a column into parts of like size, or round it to the digits that matter."
            )
        return tuple(found) if self.centred else ()


def find_offsets(array: NDArray, low: float = 0) -> Offsets:
    """Return the offset of each column of `array` (N, ...): near its median where float32 would lose digits, else 0.

    Args:
        array: Floats or integers.
        low: Constant that is subtracted from integers in any case.
    """
    if array.dtype.kind == "f" and array.dtype.itemsize <= 4:
        return Offsets((0.0,) * array[0].size, (), ())
    columns = _sample(array).T
    medians = {
        j: float(
            np.median(np.unique(column))
        )  # of the different values: many zeros may stand for missing ones
        for j, column in enumerate(columns)
        if _loses_digits(column, low)
    }
    coarse = tuple(j for j, median in medians.items() if _loses_digits(columns[j], median))
    return Offsets(tuple(medians.get(j, 0.0) for j in range(len(columns))), tuple(medians), coarse)


def offsets_of_columns(array: NDArray, shifted: Sequence[bool]) -> Offsets:
    """Return the offsets of the columns of a table, from their observed entries.

    Args:
        array: Entries, float64 (N, D), NaN where not observed.
        shifted: Whether each column may have an offset.
    """
    values, coarse = [0.0] * array.shape[1], []
    for j in np.flatnonzero(shifted).tolist():
        observed = array[~np.isnan(array[:, j]), j]
        found = find_offsets(observed[:, None])
        values[j] = found.values[0]
        coarse += [j] * bool(found.coarse)
    return Offsets(tuple(values), tuple(j for j, value in enumerate(values) if value), tuple(coarse))


def _sample(array: NDArray) -> NDArray:
    """Return evenly spaced rows, flattened, as float64 or int64."""
    count = min(len(array), SAMPLE, max(2, CHUNK // array[0].size))
    # Truncated, unlike `evenly_spaced_rows`, so that offsets, and thus the stored digits, are those of version 0.1.0.
    rows = array[np.linspace(0, len(array) - 1, count).astype(int)]
    return rows.reshape(count, -1).astype(np.float64 if array.dtype.kind == "f" else np.int64)


def _loses_digits(column: NDArray, offset: float) -> bool:
    """Whether for a quarter of neighbouring values (n,) the rounding step of float32 is material.

    The spread that it is compared with is n times the gap between neighbours, so that neither outliers nor
    values in several groups hide a loss within a group.
    """
    low, whole = column.min(), column.dtype.kind == "i"
    grain = 1.0 if whole else float(ROUNDING * np.spacing(np.abs(column).max()))
    distinct = np.unique(np.floor((column - low) / grain)) * grain
    if not whole and distinct[-1] <= 4 * grain:
        return False
    size = np.abs(distinct + float(low - column.dtype.type(offset)))
    steps = np.spacing(np.maximum(size[1:], size[:-1]).astype(np.float32))
    return len(steps) > 0 and bool(np.quantile(steps / (np.diff(distinct) * len(distinct)), 0.75) > MATERIAL)
