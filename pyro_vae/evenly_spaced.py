"""Evenly spaced rows of a data set."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["evenly_spaced_rows"]


def evenly_spaced_rows(num_rows: int, count: int) -> NDArray[np.int64]:
    """Return indices of `count` of `num_rows` evenly spaced rows; all rows if there are fewer.

    Args:
        num_rows: Number of rows.
        count: Number of rows to choose.

    Returns:
        Increasing indices from 0 to num_rows - 1, shape (min(count, num_rows),): equal steps, rounded.
    """
    return np.linspace(0, num_rows - 1, min(count, num_rows)).round().astype(np.int64)
