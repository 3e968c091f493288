"""Checks of arguments, each failing with one whole sentence, and the errors of the package."""

from __future__ import annotations

import math
import operator
from collections.abc import Collection
from typing import Any


class InputError(ValueError):
    """A mistake of the user's, told in one sentence: what was expected, what came, the mend."""


class MissingPackageError(ImportError):
    """An optional package is needed and missing or broken; the message says what to install."""


class NonFiniteLossError(ArithmeticError):
    """Training met a loss that is not finite; the message says when, at which site and parameter."""


class LostProcessError(RuntimeError):
    """One of several processes that train as one has ended; the message says how to go on."""


def check(condition: bool, message: str) -> None:
    """Raise `InputError(message)` unless `condition` holds."""
    if not condition:
        raise InputError(message)


def check_integer(value: Any, name: str, minimum: int = 1, maximum: int = 2**63 - 1) -> int:
    """Return `value` as an int, or raise where it is not a whole number from `minimum` to `maximum`."""
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = None
    if number is None or number < minimum:
        raise InputError(f"Expected {name} to be a whole number of at least {minimum}; got {value!r}.")
    check(number <= maximum, f"Expected {name} to be at most {maximum}; got {value!r}.")
    return number


def check_positive(value: Any, name: str, *, zero: bool = False) -> float:
    """Return `value` as a float, or raise where it is not finite and positive (or zero, if allowed)."""
    wanted = "a finite number of at least 0" if zero else "a finite number above 0"
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number) or number < 0 or (number == 0 and not zero):
        raise InputError(f"Expected {name} to be {wanted}; got {value!r}.")
    return number


def check_choice(value: str, choices: Collection[str], name: str) -> str:
    """Return `value`, or raise with the list of choices where it is none of them."""
    if value not in choices:
        raise InputError(f"Expected {name} to be one of {', '.join(choices)}; got {value!r}.")
    return value


def check_rows(x: Any, data_dim: int, name: str = "x") -> None:
    """Raise unless the array or tensor `x` has shape (..., data_dim) with at least one leading dimension."""
    shape = tuple(x.shape)
    if len(shape) >= 2 and shape[-1] == data_dim:
        return
    flattened = math.prod(shape[1:]) == data_dim and len(shape) != 2
    mend = " Flatten images first." if flattened else ""
    raise InputError(f"Expected {name} of shape (N, {data_dim}); got {shape}.{mend}")
