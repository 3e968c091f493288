"""Rows from all over a data set, evenly spaced."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["evenly_spaced_rows"]


def evenly_spaced_rows(num_rows: int, count: int) -> NDArray[np.int64]:
    """Return the numbers of `count` of `num_rows` rows, from the first to the last; all where there are fewer.

    Args:
        num_rows: How many rows there are.
        count: How many are wanted.

    Returns:
        Rising numbers from 0 to num_rows - 1, shape (min(count, num_rows),): equal steps, rounded.
    """
    return np.linspace(0, num_rows - 1, min(count, num_rows)).round().astype(np.int64)
