"""Kinds of the columns of rows of numbers, for `VAE(likelihood="table")`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pyro_vae._checks import InputError, check
from pyro_vae.baselines._gaussian import Array
from pyro_vae.data.columns import COLUMN_KINDS, UNBOUNDED, WITH_LEVELS, Column

__all__ = ["columns_of", "outside_columns"]

EXPECTED = {
    "positive": "numbers above 0",
    "count": "whole numbers of at least 0",
    "poisson": "whole numbers of at least 0",
    "binary": "the codes 0 and 1",
    "ordinal": "the codes 0, 1, ... of levels",
    "categorical": "the codes 0, 1, ... of levels",
}
"""Valid values of each kind of column, in addition to NaN."""


def columns_of(kinds: Sequence[str] | None, rows: Array) -> tuple[Column, ...]:
    """Return the columns of training rows, shape (N, D); all are real where `kinds` is None.

    A column with levels has those up to the largest code in the rows.

    Raises:
        InputError: If there is not one kind for each column, or values that it does not take.
    """
    chosen = ("real",) * rows.shape[1] if kinds is None else tuple(kinds)
    check(
        len(chosen) == rows.shape[1] and set(chosen) <= set(COLUMN_KINDS),
        f"Expected kinds to have one of {', '.join(COLUMN_KINDS)} for each of {rows.shape[1]} columns of X; got "
        f"{list(chosen[:8])}{' ...' * (len(chosen) > 8)}, {len(chosen)} in number.",
    )
    columns = tuple(
        _column(f"column {place}", kind, values)
        for place, (kind, values) in enumerate(zip(chosen, rows.T, strict=True))
    )
    wrong = _outside(columns, rows).any(axis=0)
    if wrong.any():
        place = int(wrong.argmax())
        raise InputError(
            f"Expected {EXPECTED[chosen[place]]} in column {place} of X, of kind {chosen[place]!r}; got others. Encode "
            "levels by scikit-learn's OrdinalEncoder, or give another kind."
        )
    return columns


def outside_columns(columns: Sequence[Column], rows: Array) -> NDArray[np.bool_]:
    """Return which rows of (N, D) hold values that their columns give no probability, shape (N,)."""
    return np.asarray(_outside(columns, rows).any(axis=1))


def _column(name: str, kind: str, values: Array) -> Column:
    if kind not in WITH_LEVELS:
        return Column(name, kind)
    observed = values[~np.isnan(values)]
    highest = 1 if kind == "binary" or len(observed) == 0 else max(1, int(observed.max()))
    return Column(name, kind, tuple(str(level) for level in range(highest + 1)))


def _outside(columns: Sequence[Column], rows: Array) -> NDArray[np.bool_]:
    """Return which entries have no probability, shape (N, D); NaN, not observed, is none of them."""
    outside = np.zeros(rows.shape, np.bool_)
    for place, column in enumerate(columns):
        values = rows[:, place]
        if column.kind == "positive":
            outside[:, place] = values <= 0
        elif column.kind not in UNBOUNDED:
            broken = (values < 0) | (values != np.floor(values)) & ~np.isnan(values)
            outside[:, place] = broken | (values >= len(column.levels) if column.levels else False)
    return outside
