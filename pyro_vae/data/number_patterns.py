"""Patterns of numbers that indicate ids, group numbers, counts and skewed quantities."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "FEW",
    "MOST_LEVELS",
    "is_id",
    "is_numbering",
    "is_rarely_counted",
    "reaches_down",
    "spans_orders",
]

MOST_LEVELS = 1000
"""Largest number of levels of a categorical column."""
FEW = 16
"""Largest number of different, nearly consecutive integers that are treated as levels."""
RARE = 0.05
"""Largest share of entries above 0 in a column that counts rare events."""
COUNTED = 0.03
"""Smallest share of zeros and ones in a column of counts, unless half of the entries lie in the lowest quarter."""
ID_NAME = re.compile(
    r"(unnamed: \d+|(row[ _]?)?(id|idx|index|nr|no\.?|number|uuid|key)|.*[_ .-]id|.*[a-z]Id)"
)
UNNAMED = re.compile(r"c\d+")


def is_numbering(seen: NDArray[np.float64], values: NDArray[np.float64]) -> bool:
    """Return whether 1, ..., K are group numbers, such as subjects: too many for levels, of similar frequency."""
    running = FEW < len(values) <= MOST_LEVELS and values[0] == 1 and values[-1] == len(values)
    if not running:
        return False
    times = np.bincount(seen.astype(int))[1:]
    return bool(times.min() >= max(5, times.mean() / 4) and times.max() <= 4 * times.mean())


def is_rarely_counted(seen: NDArray[np.float64], values: NDArray[np.float64]) -> bool:
    """Return whether few different integers are counts of rare events: nearly all 0, the others spread out."""
    spread = values[0] == 0 and values[-1] >= 5 and len(values) < 0.5 * (values[-1] + 1)
    return bool(spread and (seen > 0).mean() < RARE)


def reaches_down(seen: NDArray[np.float64], low: float, high: float) -> bool:
    """Return whether integers concentrate near their minimum, as counts do, not around a middle, as scores do."""
    return bool((seen <= 1).mean() >= COUNTED or np.median(seen) <= low + (high - low) / 4)


def is_id(name: str, numbers: NDArray[np.float64]) -> bool:
    """Return whether whole numbers, nearly all different, identify the rows."""
    seen = numbers[~np.isnan(numbers)]
    values = np.unique(seen)
    if len(values) < 0.9 * len(seen) or len(seen) < 5 or (values != np.floor(values)).any():
        return False
    named = bool(ID_NAME.fullmatch(name) or ID_NAME.fullmatch(name.lower()))
    running = bool(np.array_equal(seen, seen[0] + np.arange(len(seen))))
    unnamed = bool(UNNAMED.fullmatch(name)) and (name == "c0" or values[0] >= 10_000)
    return named or running or unnamed


def spans_orders(seen: NDArray[np.float64]) -> bool:
    """Return whether positive values span orders of magnitude and are right-skewed."""
    low, middle, high = np.quantile(seen, [0.01, 0.5, 0.99])
    return bool((seen.max() >= 10 * middle or high >= 100 * low) and high - middle > 2 * (middle - low))
