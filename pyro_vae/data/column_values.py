"""The values of one column: missing marks, numbers, dates and times of day."""

from __future__ import annotations

import re
import warnings
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
    "as_date",
    "as_dates",
    "as_numbers",
    "as_text",
    "check_finite",
    "date_format",
    "observed_text",
    "written",
]

DATE = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}([ T]\d{1,2}[:.]\d{2}([:.]\d{2}(\.\d+)?)?)?")
TIME = re.compile(r"(\d{1,2})[:.](\d{2})[:.](\d{2})")
CODE = re.compile(r"0\d+")
INFINITE = r"[+-]?inf(?:inity)?"
DATE_FORMATS = ("%Y-%m-%d", "%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%Y/%m/%d", "%d-%m-%Y")


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
    """Return float64 (N,), NaN where missing; None if an observed value is not a number, or is a code such as 007."""
    observed = text.notna().to_numpy()
    entries = text[observed].tolist()
    if decimal == "comma":
        entries = [entry.replace(",", ".") for entry in entries]
    elif decimal == "auto" and any("," in entry for entry in entries):
        entries = [entry.replace(",", ".") if entry.count(",") == 1 else entry for entry in entries]
    if any(CODE.fullmatch(entry) for entry in entries):
        return None
    numbers = np.full(len(text), np.nan)
    try:
        numbers[observed] = np.array(entries, dtype=object).astype(np.float64)
    except ValueError:
        return None
    return numbers if np.isfinite(numbers[observed]).all() else None


def check_finite(name: str, text: pd.Series, decimal: str) -> None:
    """Raise `InputError` if the observed values are numbers with infinite ones among them."""
    infinite = text.str.fullmatch(INFINITE, case=False) == True  # noqa: E712 (missing values are neither)
    check(
        not infinite.any() or as_numbers(text.mask(infinite), decimal) is None,
        f"Expected finite numbers in column {name!r}; got {next(iter(text[infinite]), '')!r}. Name that by --missing, "
        "or drop the column.",
    )


def as_dates(text: pd.Series, known: str = "") -> tuple[NDArray[np.float64], str] | None:
    """Return days since 1970-01-01, or hours of a time of day, float64 (N,), and the unit; None if it is neither.

    Args:
        text: Observed values, None if missing.
        known: The format of dates, if known: 03/04/2021 alone does not determine the month. Dates that begin with the
            year are read too.
    """
    import pandas as pd

    observed = text.notna().to_numpy()
    entries = text[observed].tolist()
    numbers = np.full(len(text), np.nan)
    if all(TIME.fullmatch(entry) for entry in entries):
        parts = np.array([re.split(r"[:.]", entry) for entry in entries]).astype(np.float64)
        numbers[observed] = parts @ np.array([1, 1 / 60, 1 / 3600])
        return numbers, "time, as hours"
    if not all(DATE.fullmatch(entry) for entry in entries):
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for form in _forms(known):
            try:
                dates = pd.to_datetime(pd.Series(entries), format=form)
            except ValueError:
                continue
            numbers[observed] = (dates - pd.Timestamp(0)) / pd.Timedelta(days=1)
            return numbers, f"date {form}, as days since 1970-01-01"
    return None


def date_format(entries: Sequence[str]) -> str | None:
    """Return the format, as of `strftime`, of dates or times of day; None if they are neither."""
    import pandas as pd

    seen = [entry for entry in entries if entry]
    found = as_dates(pd.Series(seen, dtype=object)) if seen else None
    if found is None:
        return None
    _, unit = found
    if unit.startswith("date "):
        return unit.removeprefix("date ").split(",")[0]
    mark = ":" if ":" in seen[0] else "."
    return mark.join(("%H", "%M", "%S"))


def as_date(value: float, form: str) -> str:
    """Return days since 1970-01-01, or hours of a time of day, in a format of `date_format`."""
    import pandas as pd

    hours = 24 * value if "%Y" in form else value
    moment = pd.Timestamp(0) + pd.Timedelta(hours, "h")
    return moment.round("D" if "%H" not in form else "s").strftime(form)


def _forms(known: str) -> list[str]:
    times = ("", " %H:%M", " %H:%M:%S", "T%H:%M:%S", " %H.%M.%S", " %H:%M:%S.%f")
    forms = [date + time for date in DATE_FORMATS for time in times]
    return [known, *(form for form in forms if form.startswith("%Y"))] if known else forms
