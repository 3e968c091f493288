"""Checks of arguments, and the errors of the package."""

from __future__ import annotations

import math
import operator
from collections.abc import Collection
from typing import Any


class InputError(ValueError):
    """Invalid input. States what was expected, what was received and how to fix it."""


class MissingPackageError(ImportError):
    """A required optional package is missing or broken; the message states what to install."""


class NonFiniteLossError(ArithmeticError):
    """The training loss is not finite; the message states the step, site and parameter."""


class LostProcessError(RuntimeError):
    """One of several training processes has ended; the message states how to resume."""


def check(condition: bool, message: str) -> None:
    """Raise `InputError(message)` unless `condition` holds."""
    if not condition:
        raise InputError(message)


def check_integer(value: Any, name: str, minimum: int = 1, maximum: int = 2**63 - 1) -> int:
    """Return `value` as an int, or raise if it is not an integer from `minimum` to `maximum`."""
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = None
    if number is None or number < minimum:
        raise InputError(f"Expected {name} to be a whole number of at least {minimum}; got {value!r}.")
    check(number <= maximum, f"Expected {name} to be at most {maximum}; got {value!r}.")
    return number


def check_positive(value: Any, name: str, *, zero: bool = False) -> float:
    """Return `value` as a float, or raise if it is not finite and positive (or zero, if allowed)."""
    wanted = "a finite number of at least 0" if zero else "a finite number above 0"
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number) or number < 0 or (number == 0 and not zero):
        raise InputError(f"Expected {name} to be {wanted}; got {value!r}.")
    return number


def check_choice(value: str, choices: Collection[str], name: str) -> str:
    """Return `value`, or raise with the list of choices."""
    if value not in choices:
        raise InputError(f"Expected {name} to be one of {', '.join(choices)}; got {value!r}.")
    return value


def check_rows(x: Any, data_dim: int, name: str = "x") -> None:
    """Raise unless the array or tensor `x` has shape (..., data_dim) with at least one leading dimension."""
    shape = tuple(x.shape)
    if len(shape) >= 2 and shape[-1] == data_dim:
        return
    flattened = math.prod(shape[1:]) == data_dim and len(shape) != 2
    advice = " Flatten images first." if flattened else ""
    raise InputError(f"Expected {name} of shape (N, {data_dim}); got {shape}.{advice}")
