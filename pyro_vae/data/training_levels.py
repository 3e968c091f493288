"""Levels of a column of a table are those of its training rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pyro_vae.data.column_kinds import Found
from pyro_vae.data.columns import Column
from pyro_vae.data.stored import listed

__all__ = ["in_training_levels"]


def in_training_levels(found: Found, train: NDArray[np.int64]) -> tuple[Found, str]:
    """Return a column with the levels that occur in training rows, and a note on the others.

    An entry of another level is stored as not observed, because the model is not trained on its level. A column with
    one level in the training rows is left out.

    Args:
        found: The column, with its entries in all rows, shape (N,).
        train: Row numbers of the training rows.

    Returns:
        The column; and a sentence that names the other levels and counts their rows, "" if there are none.
    """
    column = found.column
    if column is None or not column.levels:
        return found, ""
    entries = found.values[train]
    kept = np.unique(entries[~np.isnan(entries)]).astype(int)
    if len(kept) == len(column.levels):
        return found, ""
    known = np.isin(found.values, kept)
    lost = [repr(level) for k, level in enumerate(column.levels) if k not in kept]
    rows = int((~known & ~np.isnan(found.values)).sum())
    note = (
        f"Column {column.name!r} has levels that no training row has: {listed(lost)}, in {rows} validation and test "
        f"row{'s' if rows > 1 else ''}. Such entries are taken as not observed."
    )
    if len(kept) < 2:
        return Found(None, np.full(len(known), np.nan), "fewer than two levels in the training rows"), note
    levels = tuple(column.levels[k] for k in kept)
    values = np.where(known, np.searchsorted(kept, found.values), np.nan)
    return Found(Column(column.name, column.kind, levels), values, found.why), note
