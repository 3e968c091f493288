"""The values of one column as text and numbers, and the marks of missing values."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pyro_vae._checks import check
from pyro_vae.data.table_files import MISSING
from pyro_vae.data.table_options import TableOptions

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "as_numbers",
    "as_text",
    "check_decimal_mark",
    "check_finite",
    "observed_text",
    "unused_marks",
    "written",
]

CODE = re.compile(r"0\d+")
AMBIGUOUS = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")
GROUPED = {
    "point": re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d+)?"),
    "comma": re.compile(r"[+-]?[1-9]\d{0,2}(\.\d{3})+(,\d+)?"),
}
"""Numbers with marks between thousands, by the decimal mark."""
INFINITE = r"[+-]?inf(?:inity)?"


def observed_text(values: pd.Series, options: TableOptions) -> pd.Series:
    """Return the values as stripped text of dtype object, None if missing."""
    import pandas as pd

    entries = [None if missing else written(v) for v, missing in zip(values, values.isna(), strict=True)]
    text = pd.Series(entries, dtype=object)
    marks = set(MISSING) | set(options.missing)
    numbers = {value for mark in options.missing if (value := _number(mark)) is not None}
    known: dict[Any, Any] = {}
    for value in set(text.dropna()):
        known[value] = None if value in marks or (numbers and _number(value) in numbers) else value
    return text.map(lambda v: known.get(v) if v is not None and v == v else None).astype(object)


def unused_marks(frame: pd.DataFrame, marks: Sequence[str]) -> list[str]:
    """Return the marks of missing values that no entry of a frame is; numbers are compared as numbers."""
    unused = list(marks)
    for name in frame.columns:
        if not unused:
            break
        different = {written(value) for value in frame[name].dropna().unique()}
        numbers = {number for text in different if (number := _number(text)) is not None}
        unused = [mark for mark in unused if mark not in different and _number(mark) not in numbers]
    return unused


def written(value: Any) -> str:
    """Return a value as text; a whole number without decimals."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def _number(text: str) -> float | None:
    try:
        return float(text.replace(",", ".")) if text.count(",") <= 1 else None
    except ValueError:
        return None


def as_text(values: NDArray[Any]) -> list[str]:
    """Return the sorted different values: by number if all are numbers, else by name."""
    different = sorted({str(value) for value in values})
    numbers = [_number(value) for value in different]
    if any(number is None for number in numbers):
        return different
    return [text for _, text in sorted(zip(numbers, different, strict=True))]


def as_numbers(text: pd.Series, decimal: str) -> NDArray[np.float64] | None:
    """Return float64 (N,), NaN where missing; None if an observed value is not a number, or is a code such as 007.

    Args:
        text: Observed values, None if missing.
        decimal: "auto": a single comma of a number is decimal; "point" or "comma": the other mark separates thousands
            if all numbers with it are grouped so.
    """
    observed = text.notna().to_numpy()
    entries = text[observed].tolist()
    entries = _with_points(entries, decimal)
    if any(CODE.fullmatch(entry) for entry in entries):
        return None
    numbers = np.full(len(text), np.nan)
    try:
        numbers[observed] = np.array(entries, dtype=object).astype(np.float64)
    except ValueError:
        return None
    return numbers if np.isfinite(numbers[observed]).all() else None


def _with_points(entries: Sequence[str], decimal: str) -> list[str]:
    """Return numbers with a decimal point; marks between thousands are left out if `decimal` tells them apart."""
    if decimal == "auto":
        return [entry.replace(",", ".") if entry.count(",") == 1 else entry for entry in entries]
    mark = "," if decimal == "point" else "."
    grouped = [entry for entry in entries if mark in entry]
    if grouped and all(GROUPED[decimal].fullmatch(entry) for entry in grouped):
        entries = [entry.replace(mark, "") for entry in entries]
    return [entry.replace(",", ".") for entry in entries] if decimal == "comma" else list(entries)


def check_decimal_mark(name: str, text: pd.Series) -> None:
    """Raise `InputError` if commas in a column of numbers may be decimal commas or separate thousands."""
    entries = [entry for entry in text.dropna() if "," in entry]
    check(
        not entries or not all(AMBIGUOUS.fullmatch(entry) for entry in entries),
        f"Expected numbers with one meaning in column {name!r}; {next(iter(entries), '')!r} may have a decimal comma "
        "or a comma between thousands. Give --decimal comma or --decimal point, or numbers instead of text.",
    )


def check_finite(name: str, text: pd.Series, decimal: str) -> None:
    """Raise `InputError` if the observed values are numbers with infinite ones among them."""
    infinite = text.str.fullmatch(INFINITE, case=False) == True  # noqa: E712 (missing values are neither)
    check(
        not infinite.any() or as_numbers(text.mask(infinite), decimal) is None,
        f"Expected finite numbers in column {name!r}; got {next(iter(text[infinite]), '')!r}. Name that by --missing, "
        "or drop the column.",
    )
