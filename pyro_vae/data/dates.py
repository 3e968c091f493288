"""Dates and times of day in the columns of a table."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["as_date", "as_dates", "date_format"]

DAY = r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}|\d{1,2}[- ][A-Za-z]{3}[- ]\d{4}|[A-Za-z]{3} \d{1,2}, \d{4}"
CLOCK = r"\d{1,2}[:.]\d{2}([:.]\d{2}(\.\d+)?)?( [AaPp][Mm])?"
ZONE = r"( ?(Z|UTC|GMT|[+-]\d{2}:?\d{2}))"
DATE = re.compile(rf"({DAY})([ T]{CLOCK}{ZONE}?)?")
ZONED = re.compile(rf".*[:.]\d{{2,}}( [AaPp][Mm])?{ZONE}")
TIME = re.compile(r"(\d{1,2})[:.](\d{2})[:.](\d{2})|(\d{1,2}):(\d{2})")
DATE_FORMATS = (
    "%Y-%m-%d",
    "%d/%m/%Y",
    "%m/%d/%Y",
    "%d.%m.%Y",
    "%Y/%m/%d",
    "%d-%m-%Y",
    "%d-%b-%Y",
    "%d %b %Y",
    "%b %d, %Y",
)
CLOCK_FORMATS = (
    " %H:%M",
    " %H:%M:%S",
    "T%H:%M",
    "T%H:%M:%S",
    " %H.%M.%S",
    " %H:%M:%S.%f",
    "T%H:%M:%S.%f",
    " %I:%M %p",
    " %I:%M:%S %p",
)


def as_dates(text: pd.Series, known: str = "") -> tuple[NDArray[np.float64], str] | None:
    """Return days since 1970-01-01, or hours of a time of day, float64 (N,), and the unit; None if it is neither.

    Dates with a time zone are converted to UTC.

    Args:
        text: Observed values, None if missing.
        known: The format of dates, if known: 03/04/2021 alone does not determine the month. Dates that begin with the
            year are read too, if they have a time zone where the format has one.
    """
    observed = text.notna().to_numpy()
    entries = text[observed].tolist()
    numbers = np.full(len(text), np.nan)
    if all(TIME.fullmatch(entry) for entry in entries):
        numbers[observed] = [_hours(entry) for entry in entries]
        return numbers, "time, as hours"
    if not all(DATE.fullmatch(entry) for entry in entries):
        return None
    zoned = {ZONED.fullmatch(entry) is not None for entry in entries}
    if len(zoned) > 1 or (known and zoned != {"%z" in known}):
        return None
    found = _days(entries, known, zoned.pop())
    if found is None:
        return None
    numbers[observed], form = found
    return numbers, f"date {form}, as days since 1970-01-01{' in UTC' if '%z' in form else ''}"


def _hours(entry: str) -> float:
    parts = [float(part) for part in re.split(r"[:.]", entry)]
    return sum(part / 60**k for k, part in enumerate(parts))


def _days(entries: Sequence[str], known: str, zoned: bool) -> tuple[NDArray[np.float64], str] | None:
    """Return days since 1970-01-01 and the format of dates that all have a time zone, or none of them."""
    import pandas as pd

    series = pd.Series(entries)
    if zoned:
        series = series.str.replace(r" ?(UTC|GMT)$", "Z", regex=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for form, written in _forms(entries, known, zoned):
            try:
                dates = pd.to_datetime(series, format=form, utc=True)
            except ValueError:
                continue
            days = (dates - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(days=1)
            return np.array(days, np.float64), written
    return None


def _forms(entries: Sequence[str], known: str, zoned: bool) -> Iterator[tuple[str, str]]:
    """Yield the formats to try, each with the format in which such dates are written."""
    if known:
        yield known, known
    zones = ("%z", " %z") if zoned else ("",)
    clocks = CLOCK_FORMATS if zoned else ("", *CLOCK_FORMATS)
    for date in DATE_FORMATS:
        if not known or date.startswith("%Y"):
            yield from ((form, form) for clock in clocks for form in (f"{date}{clock}{z}" for z in zones))
    if re.match(r"\d{4}-\d{2}-\d{2}", entries[0]):  # some with fractions of seconds, or without a time
        mark = "T" if any("T" in entry for entry in entries) else " "
        yield "ISO8601", f"%Y-%m-%d{mark}%H:%M:%S{'%z' if zoned else ''}"


def date_format(entries: Sequence[str]) -> str | None:
    """Return the format, as of `strftime`, of dates or times of day; None if they are neither."""
    import pandas as pd

    seen = [entry for entry in entries if entry]
    found = as_dates(pd.Series(seen, dtype=object)) if seen else None
    if found is None:
        return None
    _, unit = found
    if unit.startswith("date "):
        return unit.removeprefix("date ").split(", as")[0]
    mark = ":" if ":" in seen[0] else "."
    return mark.join(("%H", "%M", "%S")[: seen[0].count(mark) + 1])


def as_date(value: float, form: str) -> str:
    """Return days since 1970-01-01, or hours of a time of day, in a format of `date_format`; time zones are UTC."""
    import pandas as pd

    hours = 24 * value if "%Y" in form else value
    moment = pd.Timestamp(0, tz="UTC") + pd.Timedelta(hours, "h")
    has_clock = "%H" in form or "%I" in form
    return moment.round("s" if has_clock else "D").strftime(form)
