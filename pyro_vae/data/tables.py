"""Tables in text files: `.csv` with a header and `.amat`."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pyro_vae._checks import InputError, check
from pyro_vae.data.labels import encode_labels
from pyro_vae.data.stored import Stored

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["read_amat", "read_csv"]

LABEL_COLUMNS = ("label", "class", "target", "y")
COUNTED = "(counted from 0, without a header)"


def read_csv(path: Path) -> Stored:
    """Read a comma-separated table of numbers with a header; one column may hold classes.

    All columns integers: the table is integer data. Otherwise it is float data.
    """
    header = _check_fields(path)
    frame = _frame(path, header=0, names=header, index_col=False)
    check(len(frame) > 0, f"Expected rows below the header of {path}; got none.")
    labelled = [name for name in header if name.lower() in LABEL_COLUMNS]
    check(
        len(labelled) <= 1,
        f"Expected at most one label column in {path}; got {', '.join(labelled)}. Rename the others.",
    )
    labels, class_names = _labels(frame, labelled[0], path) if labelled else (None, None)
    frame = frame.drop(columns=labelled)
    check(frame.shape[1] > 0, f"Expected at least one column of numbers in {path}; got labels alone.")
    return Stored(
        str(path),
        _numbers(frame, path),
        labels,
        class_names=class_names,
        column_names=tuple(frame.columns),
    )


def read_amat(path: Path) -> Stored:
    """Read a table of numbers separated by white space, one row a line, without header or labels."""
    return Stored(str(path), _numbers(_frame(path, sep=r"\s+", header=None), path))


def _frame(path: Path, **how: Any) -> pd.DataFrame:
    import pandas as pd

    try:
        return pd.read_csv(path, encoding="utf-8-sig", low_memory=False, **how)
    except ValueError as error:  # pandas' parser errors and wrong encodings are ValueErrors
        raise InputError(f"Expected {path} to be a text table; got {_sentence(error)}.") from error


def _check_fields(path: Path) -> list[str]:
    """Return the column names, having counted the fields of each line: pandas pads and cuts silently."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = (fields for fields in csv.reader(file) if fields)
            header = [name.strip() for name in next(lines, [])]
            for row, fields in enumerate(lines):
                check(
                    len(fields) == len(header),
                    f"Expected {len(header)} fields in every row of {path}; "
                    f"got {len(fields)} in row {row} {COUNTED}.",
                )
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"Expected {path} to be comma-separated UTF-8 text; got {_sentence(error)}."
        ) from error
    check(bool(header), f"Expected a header in {path}; the file holds no text.")
    _check_header(header, path)
    return header


def _check_header(header: list[str], path: Path) -> None:
    check(
        not all(_is_number(name) for name in header),
        f"Expected a header with column names in the first line of {path}; got numbers. Write one.",
    )
    check(
        len(header) > 1 or not any(mark in header[0] for mark in ";\t"),
        f"Expected columns of {path} to be separated by commas; got the header {header[0]!r}.",
    )
    for column, name in enumerate(header):
        check(
            name != "",
            f"Expected a name for every column of {path}; column {column} has none. "
            "If it is an index, save the table without it.",
        )
        check(name not in header[:column], f"Expected different column names in {path}; got {name!r} twice.")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _labels(frame: pd.DataFrame, name: str, path: Path) -> tuple[NDArray[np.int64], tuple[str, ...] | None]:
    column = frame[name]
    empty = np.flatnonzero(column.isna())
    check(
        len(empty) == 0,
        f"Expected a label in every row of {path}; column {name!r} is empty in {len(empty)}.",
    )
    numeric = column.dtype.kind in "biuf"
    return encode_labels(column.to_numpy() if numeric else column.to_numpy(str), f"column {name!r} of {path}")


def _numbers(frame: pd.DataFrame, path: Path) -> NDArray:
    """Return the table as one array (N, D): int64 where every column is integer, else float64."""
    table = np.stack([_column(frame[name], path) for name in frame.columns], axis=1)
    return table.astype(np.int64 if table.dtype.kind in "bi" else np.float64)


def _column(column: pd.Series, path: Path) -> NDArray:
    import pandas as pd

    numbers = pd.to_numeric(column, errors="coerce")
    broken = np.flatnonzero(numbers.isna())
    if len(broken):
        value = column.iloc[broken[0]]
        got = "an empty field" if pd.isna(value) else repr(value)
        raise InputError(
            f"Expected numbers in {path}; got {got} in row {broken[0]}, column {column.name} {COUNTED}, "
            f"{len(broken)} such in that column. Drop or fill them first."
        )
    return numbers.to_numpy() if numbers.dtype.kind in "biuf" else numbers.to_numpy(float)


def _sentence(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")
