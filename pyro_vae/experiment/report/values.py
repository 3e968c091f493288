"""Entries of rows as text, by the names of their columns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pyro_vae.data import DataSet

__all__ = ["MOST_COLUMNS", "column_levels", "column_names", "texts"]

MOST_COLUMNS = 40
"""Columns that are shown of a row."""


def column_names(dataset: DataSet) -> list[str]:
    """Return the names of the columns that are shown."""
    names = dataset.column_names or [f"x[{number}]" for number in range(dataset.data_dim)]
    return [str(name) for name in names[:MOST_COLUMNS]]


def column_levels(dataset: DataSet) -> list[tuple[str, ...]]:
    """Return the names of the levels of these columns; empty for a column of numbers."""
    if dataset.columns is None:
        return [()] * len(column_names(dataset))
    return [tuple(map(str, column.levels)) for column in dataset.columns[:MOST_COLUMNS]]


def texts(
    rows: NDArray[np.floating], levels: Sequence[Sequence[str]], *, means: bool = False
) -> list[list[str]]:
    """Return the entries of rows as text, shape (N, number of columns).

    Args:
        rows: Shape (N, D), NaN where an entry is not observed.
        levels: Names of levels by column; further columns are left out.
        means: Whether the entries are means, so that one between two levels stands for the nearer.
    """
    return [
        [_text(value, names, means) for value, names in zip(row, levels, strict=False)]
        for row in rows.tolist()
    ]


def _text(value: float, names: Sequence[str], mean: bool) -> str:
    if np.isnan(value):
        return "not observed"
    if not names:
        return _number(value, 4 if mean else 7)
    return names[min(max(round(value), 0), len(names) - 1)]


def _number(value: float, digits: int) -> str:
    """Return a number with some digits, without an exponent unless it is very large or small."""
    if value != 0 and not 1e-4 <= abs(value) < 1e9:
        return f"{value:.{digits}g}"
    return np.format_float_positional(value, precision=digits, unique=False, fractional=False, trim="-")
