"""Dates and times of day in tables: the moment that each text names, its format, and dates written in that format."""

import numpy as np
import pandas as pd
import pytest

from pyro_vae._checks import InputError
from pyro_vae.data import load_dataset
from pyro_vae.data.dates import as_date, as_dates, date_format
from pyro_vae.data.mixed_tables import read_table
from pyro_vae.data.new_rows import rows_like
from pyro_vae.data.row_format import RowFormat
from pyro_vae.estimator.frames import FrameColumns

# name: entries, their moments, the format in which they are written
DATES = {
    "ISO": (["2024-02-29", "2024-03-01"], ["2024-02-29", "2024-03-01"], "%Y-%m-%d"),
    "minutes": (["2024-02-29T23:30"], ["2024-02-29 23:30"], "%Y-%m-%dT%H:%M"),
    "UTC": (["2024-02-29T23:30:00Z"], ["2024-02-29 23:30"], "%Y-%m-%dT%H:%M:%S%z"),
    "UTC in words": (["2024-02-29 23:30:00 UTC"], ["2024-02-29 23:30"], "%Y-%m-%d %H:%M:%S%z"),
    "summer and winter": (
        ["2024-01-01 00:00:00+01:00", "2024-07-01 00:00:00+02:00"],
        ["2023-12-31 23:00", "2024-06-30 22:00"],
        "%Y-%m-%d %H:%M:%S%z",
    ),
    "west": (["2024-02-29 20:00:00 -0500"], ["2024-03-01 01:00"], "%Y-%m-%d %H:%M:%S %z"),
    "some with fractions": (
        ["2024-02-29T23:30:00.500Z", "2024-02-29T23:30:00Z"],
        ["2024-02-29 23:30:00.5", "2024-02-29 23:30"],
        "%Y-%m-%dT%H:%M:%S%z",
    ),
    "some without a time": (
        ["2024-02-29", "2024-02-29 23:30"],
        ["2024-02-29", "2024-02-29 23:30"],
        "%Y-%m-%d %H:%M:%S",
    ),
    "noon and midnight": (
        ["02/29/2024 12:00 AM", "02/29/2024 12:00 PM"],
        ["2024-02-29", "2024-02-29 12:00"],
        "%m/%d/%Y %I:%M %p",
    ),
    "names of months": (["29 Feb 2024", "01 Mar 2024"], ["2024-02-29", "2024-03-01"], "%d %b %Y"),
    "months first": (["Feb 29, 2024"], ["2024-02-29"], "%b %d, %Y"),
}


@pytest.mark.parametrize(("entries", "moments", "form"), DATES.values(), ids=DATES)
def test_dates_are_days_since_1970_and_are_written_in_their_format(entries, moments, form):
    days, unit = as_dates(pd.Series(entries))
    expected = (pd.to_datetime(pd.Series(moments), format="ISO8601") - pd.Timestamp(0)) / pd.Timedelta("1D")
    np.testing.assert_allclose(days, expected, rtol=0, atol=1e-9)
    zone = " in UTC" if "%z" in form else ""
    assert unit == f"date {form}, as days since 1970-01-01{zone}"
    assert date_format(entries) == form
    again, _ = as_dates(pd.Series([as_date(day, form) for day in days]), form)
    np.testing.assert_allclose(again, days, rtol=0, atol=1 / 86400)


@pytest.mark.parametrize(
    ("entry", "form"), [("7:30", "%H:%M"), ("07:30:00", "%H:%M:%S"), ("07.30.00", "%H.%M.%S")]
)
def test_times_of_day_are_hours(entry, form):
    (hours,), unit = as_dates(pd.Series([entry]))
    assert (hours, unit, date_format([entry])) == (7.5, "time, as hours", form)
    assert as_date(hours, form).lstrip("0") == entry.lstrip("0")


@pytest.mark.parametrize(
    "entries", [["2024-01-01 00:00:00", "2024-01-01 00:00:00Z"], ["2024-13-01"], ["2024-01-01", "soon"]]
)
def test_other_text_is_no_date(entries):
    assert as_dates(pd.Series(entries)) is None
    assert date_format(entries) is None


def test_a_column_with_time_zones_is_real_and_new_rows_need_a_zone():
    zoned = pd.date_range("2024-01-01", periods=60, freq="41h", tz="Europe/Berlin")
    frame = pd.DataFrame({"when": zoned.astype(str), "x": np.arange(60) % 7 / 8})
    stored = read_table(frame)
    assert [column.kind for column in stored.columns] == ["real", "real"]
    assert "in UTC" in "\n".join(stored.kinds)
    np.testing.assert_array_equal(stored.array, read_table(frame.assign(when=zoned)).array)
    known = RowFormat.from_json(RowFormat.of(load_dataset(frame, likelihood_kind="table")).to_json())
    utc = zoned.tz_convert("UTC")
    same = frame.assign(when=utc.strftime("%Y-%m-%dT%H:%M:%SZ"))
    np.testing.assert_array_equal(
        rows_like(same, known, "table")[0].tensor(), stored.array.astype(np.float32)
    )
    with pytest.raises(
        InputError, match=r"dates of the format .*%z in column 'when', as the training rows have; got"
    ):
        rows_like(frame.assign(when=utc.strftime("%Y-%m-%d %H:%M:%S")), known, "table")


def test_dates_with_time_zones_come_back_to_a_frame():
    zoned = pd.Series(pd.date_range("2024-01-01", periods=60, freq="41h", tz="Europe/Berlin"))
    frame = pd.DataFrame({"text": zoned.astype(str), "zoned": zoned, "x": np.arange(60) % 7 / 8})
    columns, rows = FrameColumns.of(frame, None)
    restored = columns.decode(rows)
    assert restored.zoned.tolist() == zoned.tolist()
    assert pd.to_datetime(restored.text, utc=True).tolist() == zoned.dt.tz_convert("UTC").tolist()
    np.testing.assert_array_equal(columns.encode(restored), rows)
