"""Inference of the kinds of columns from their values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pyro_vae._checks import InputError, check
from pyro_vae.data.column_values import as_numbers, as_text, check_decimal_mark, check_finite
from pyro_vae.data.columns import COUNTS, WITH_LEVELS, Column
from pyro_vae.data.dates import as_dates
from pyro_vae.data.number_patterns import (
    FEW,
    MOST_LEVELS,
    is_id,
    is_numbering,
    is_rarely_counted,
    reaches_down,
    spans_orders,
)

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Found", "encoded", "infer_column"]


@dataclass(frozen=True, eq=False)
class Found:
    """The inferred kind of a column.

    Attributes:
        column: The column, or None if it is left out of x.
        values: Stored entries, float64 (N,).
        why: Unit, or the reason why it is left out.
    """

    column: Column | None
    values: NDArray[np.float64]
    why: str = ""


def infer_column(
    name: str, text: pd.Series, decimal: str, kind: str | None = None, *, numbers_are_real: bool = False
) -> Found:
    """Return the kind of a column and its stored entries.

    Args:
        name: Name of the column.
        text: Observed values as text, None if missing.
        decimal: "auto", "point" or "comma".
        kind: The kind, if given.
        numbers_are_real: Whether numbers other than ids are always of kind real.

    Raises:
        InputError: If the given kind does not fit the values.
    """
    observed = text.dropna()
    different = observed.nunique()
    nothing = np.full(len(text), np.nan)
    if kind is None and different < 2:
        return Found(
            None, nothing, f"constant ({observed.iloc[0]!r})" if different else "empty (all missing)"
        )
    check(different > 0, f"Expected values in column {name!r} of kind {kind}; all are missing. Drop it.")
    numbers, unit = as_numbers(text, decimal), ""
    if numbers is None and (dates := as_dates(text)) is not None:
        numbers, unit = dates
    if kind not in WITH_LEVELS:
        if numbers is None:
            check_finite(name, text, decimal)
        elif decimal == "auto":
            check_decimal_mark(name, text)
    if kind is not None:
        return _as_given(name, kind, text, numbers, unit)
    if unit:
        return Found(Column(name, "real", date_format=_format(unit)), numbers, unit)  # type: ignore[arg-type]
    if numbers is None:
        return _text_column(name, text)
    if numbers_are_real and not is_id(name, numbers):
        return Found(Column(name, "real"), numbers)
    return _number_column(name, text, numbers)


def encoded(column: Column, text: pd.Series, decimal: str) -> tuple[NDArray[np.float64], list[str]]:
    """Return the stored entries of new values of a known column, float64 (N,), and its unseen levels.

    An unseen level is stored as not observed.

    Raises:
        InputError: If the values are not of the column's kind.
    """
    if column.kind in WITH_LEVELS:
        codes = {level: float(k) for k, level in enumerate(column.levels)}
        numeric = {_canonical(level): k for level, k in codes.items()}
        entries = np.array(
            [
                np.nan if not isinstance(v, str) else codes.get(v, numeric.get(_canonical(v), -1.0))
                for v in text
            ],
            np.float64,
        )
        unseen = as_text(text[entries == -1.0].to_numpy()) if (entries == -1.0).any() else []
        return np.where(entries == -1.0, np.nan, entries), unseen
    numbers = as_numbers(text, decimal)
    if numbers is None and (dates := as_dates(text, column.date_format)) is not None:
        numbers = dates[0]
    if numbers is None and column.date_format:
        value = next(v for v in text.dropna() if as_dates(text[text == v], column.date_format) is None)
        raise InputError(
            f"Expected dates of the format {column.date_format} in column {column.name!r}, as the training rows have; "
            f"got {value!r}."
        )
    if numbers is None:
        known, value = f"column {column.name!r} of kind {column.kind}, as in training", _no_number(text)
        raise InputError(f"Expected numbers in {known}; got {value!r}. Correct it, or leave it empty.")
    _check_range(column.name, column.kind, numbers)
    return numbers, []


def _as_given(name: str, kind: str, text: pd.Series, numbers: NDArray[np.float64] | None, unit: str) -> Found:
    if kind in WITH_LEVELS:
        return _levels(name, kind, text if numbers is None or unit else _normalized_spelling(text, numbers))
    if numbers is None:
        raise InputError(
            f"Expected numbers in column {name!r} of kind {kind}; got {_no_number(text)!r}. Give it another kind by "
            "--columns."
        )
    _check_range(name, kind, numbers)
    check(
        bool(np.nanmin(numbers) < np.nanmax(numbers)),
        f"Expected different values in column {name!r}; all are alike.",
    )
    return Found(Column(name, kind, date_format=_format(unit)), numbers, unit)


def _format(unit: str) -> str:
    """Return the format of dates from the unit that `as_dates` gives; empty for other units."""
    return unit.removeprefix("date ").split(", as")[0] if unit.startswith("date ") else ""


def _no_number(text: pd.Series) -> str:
    """Return the first value that is no number."""
    return str(next(value for value in text.dropna() if as_numbers(text[text == value], "auto") is None))


def _check_range(name: str, kind: str, numbers: NDArray[np.float64]) -> None:
    seen = numbers[~np.isnan(numbers)]
    wrong = np.zeros(0)
    if kind in COUNTS:
        wrong = seen[(seen < 0) | (seen != np.floor(seen))]
    elif kind == "positive":
        wrong = seen[seen <= 0]
    expected = "numbers above 0" if kind == "positive" else "whole numbers of at least 0"
    if len(wrong):
        raise InputError(f"Expected {expected} in column {name!r} of kind {kind}; got {wrong[0]:g}.")


def _levels(name: str, kind: str, text: pd.Series) -> Found:
    levels = tuple(as_text(text.dropna().to_numpy()))
    check(
        len(levels) >= 2,
        f"Expected at least two levels in column {name!r} of kind {kind}; got {levels[0]!r} alone.",
    )
    check(
        kind != "binary" or len(levels) == 2,
        f"Expected two levels in column {name!r} of kind binary; got {len(levels)}. Give it the kind categorical.",
    )
    check(
        len(levels) <= MOST_LEVELS,
        f"Expected at most {MOST_LEVELS} levels in column {name!r} of kind {kind}; got {len(levels)}. Drop it, or "
        "merge rare levels.",
    )
    codes = {level: float(k) for k, level in enumerate(levels)}
    return Found(Column(name, kind, levels), np.array([codes.get(v, np.nan) for v in text], np.float64))


def _text_column(name: str, text: pd.Series) -> Found:
    observed, different = len(text.dropna()), text.nunique()
    if different == 2:
        return _levels(name, "binary", text)
    nothing = np.full(len(text), np.nan)
    if different == observed:
        return Found(None, nothing, "text, all values different")
    if 3 * different > observed:
        return Found(None, nothing, f"text, {different} different values in {observed} rows")
    if different > MOST_LEVELS:
        return Found(None, nothing, f"text of {different} levels, more than {MOST_LEVELS}")
    return _levels(name, "categorical", text)


def _number_column(name: str, text: pd.Series, numbers: NDArray[np.float64]) -> Found:
    seen = numbers[~np.isnan(numbers)]
    values = np.unique(seen)
    whole = bool((values == np.floor(values)).all())
    if is_id(name, numbers):
        return Found(None, np.full(len(numbers), np.nan), "id, nearly all values different")
    few = len(values) == 2 or (len(values) <= 4 and len(seen) >= 50 * len(values))
    if few and not (whole and is_rarely_counted(seen, values)):
        return _numeric_levels(name, numbers, values)
    if whole and is_numbering(seen, values):
        return _levels(name, "categorical", _normalized_spelling(text, numbers))
    low, high = values[0], values[-1]
    gapless = (
        whole
        and len(values) >= 0.9 * (high - low + 1)
        and len(values) <= FEW
        and len(seen) >= 3 * len(values)
    )
    counted = low == 0 and high >= 5 and np.bincount(seen.astype(int)).argmax() == 0 if gapless else False
    if gapless and not counted:
        return _numeric_levels(name, numbers, values)
    if low > 0 and spans_orders(seen):
        return Found(Column(name, "positive"), numbers)
    kind = "count" if whole and low in (0, 1) and reaches_down(seen, low, high) else "real"
    return Found(Column(name, kind), numbers)


def _numeric_levels(name: str, numbers: NDArray[np.float64], values: NDArray[np.float64]) -> Found:
    levels = tuple(f"{value:.15g}" for value in values)
    kind = "binary" if len(levels) == 2 else "ordinal"
    entries = np.where(np.isnan(numbers), np.nan, np.searchsorted(values, numbers))
    return Found(Column(name, kind, levels), entries)


def _normalized_spelling(text: pd.Series, numbers: NDArray[np.float64]) -> pd.Series:
    """Return numbers in one spelling, so that 1 and 1.0 are one level."""
    return text.where(text.isna(), [f"{number:.15g}" for number in numbers])


def _canonical(text: str) -> str:
    """Return one spelling of a number; other text unchanged."""
    try:
        return f"{float(text.replace(',', '.')):.15g}"
    except ValueError:
        return text
