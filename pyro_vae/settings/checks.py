"""Checks of the values of single settings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from pyro_vae._checks import check, check_choice, check_integer, check_positive
from pyro_vae.settings.declare import Check

__all__ = [
    "at_least",
    "choices",
    "different_seeds",
    "finite",
    "positive",
    "positive_or_zero",
    "scale",
    "share",
    "sides",
    "size",
    "widths",
]

LARGEST_SIZE = 10**9
"""Keeps byte counts within int64, so that oversized requests fail as out of memory."""
SMALLEST_SCALE, LARGEST_SCALE = 1e-30, 1e30
"""Well within the range of float32, in which a scale must be neither zero nor infinite."""


def at_least(minimum: int) -> Check:
    """Return a check for a whole number of at least `minimum`."""
    return lambda value, name: check_integer(value, name, minimum)


def choices(*names: str) -> Check:
    """Return a check for a selection of these names without repetition."""

    def check_choices(value: Sequence[Any], name: str) -> None:
        for chosen in value:
            check_choice(chosen, names, name)
        check(len(set(value)) == len(value), f"Expected different {name}; got {' '.join(map(str, value))}.")

    return check_choices


def size(value: Any, name: str) -> None:
    """Check a whole number of at least 1 that sizes a tensor."""
    check_integer(value, name, maximum=LARGEST_SIZE)


def widths(value: Sequence[Any], name: str) -> None:
    """Check the widths of at least one layer."""
    check(len(value) > 0, f"Expected {name} with at least one width, such as {name} 64 64; got none.")
    for width in value:
        size(width, f"every width of {name}")


def sides(value: Sequence[Any], name: str) -> None:
    """Check height and width; one number for both and an empty tuple are also valid."""
    check(
        len(value) <= 2,
        f"Expected {name} with height and width, or one number for both; got {' '.join(map(str, value))}.",
    )
    for side in value:
        size(side, f"every side of {name}")


def different_seeds(value: Sequence[Any], name: str) -> None:
    """Check that all seeds are integers of at least 0 and differ."""
    for seed in value:
        check_integer(seed, f"every one of {name}", 0)
    check(len(set(value)) == len(value), f"Expected different {name}; got {' '.join(map(str, value))}.")


def positive(value: Any, name: str) -> None:
    """Check a finite number above 0."""
    check_positive(value, name)


def positive_or_zero(value: Any, name: str) -> None:
    """Check a finite number of at least 0."""
    check_positive(value, name, zero=True)


def finite(value: Any, name: str) -> None:
    """Check a finite number."""
    check(math.isfinite(value), f"Expected {name} to be a finite number; got {value}.")


def scale(value: Any, name: str) -> None:
    """Check a standard deviation."""
    check_positive(value, name)
    check(
        SMALLEST_SCALE <= value <= LARGEST_SCALE,
        f"Expected {name} from {SMALLEST_SCALE:g} to {LARGEST_SCALE:g}; got {value:g}.",
    )


def share(of: str, *, whole: bool = False) -> Check:
    """Return a check for a share, a number between 0 and 1.

    Args:
        of: The whole that it is a share of, such as "the columns".
        whole: Whether 1 is valid.
    """
    interval = "[0, 1]" if whole else "[0, 1)"

    def check_share(value: Any, name: str) -> None:
        inside = 0 <= value < 1 or (whole and value == 1)
        check(inside, f"Expected {name} in {interval}, a share of {of}; got {value}.")

    return check_share
