"""Tables of numbers in text files: `.csv` with a header and `.amat`."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pyro_vae._checks import InputError, check
from pyro_vae.data.conversions import cell_hint, first_lines, separator_of
from pyro_vae.data.labels import encode_labels
from pyro_vae.data.stored import Stored, listed
from pyro_vae.data.table_options import SEPARATORS

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["csv_header", "read_amat", "read_csv"]

LABEL_COLUMNS = ("label", "class", "target", "y")
NEARLY_LABELS = ("labels", "classes", "targets", "category", "outcome")
WORDS = {mark: word for word, mark in SEPARATORS.items()}
COUNTED = "(counted from 0, without a header)"


def read_csv(path: Path) -> Stored:
    """Read a table of numbers with a header; one column may hold classes.

    Columns are separated by commas, semicolons, tabs or bars; numbers may have decimal commas if columns are not
    separated by commas.

    All columns integers: the table is integer data. Otherwise it is float data. A header that begins with "#", as
    `numpy.savetxt` writes it, counts as one.
    """
    mark, decimal = separator_of(path, first_lines(path))
    header, notes = _header(path, mark)
    frame = _frame(path, sep=mark, decimal=decimal, header=0, names=header, index_col=False)
    check(len(frame) > 0, f"Expected rows below the header of {path}; got none.")
    label = _label_column(header, path)
    labels, class_names = (None, None) if label is None else _labels(frame, label, path)
    frame = frame.drop(columns=[] if label is None else [label])
    check(frame.shape[1] > 0, f"Expected at least one column of numbers in {path}; got labels alone.")
    return Stored(
        str(path),
        _numbers(frame, path),
        labels,
        class_names=class_names,
        column_names=tuple(frame.columns),
        notes=(*notes, *_label_notes(header, label, labels)),
    )


def csv_header(path: Path) -> tuple[list[str], str]:
    """Return the column names of a table, in the order of the file, and its separator.

    Raises:
        InputError: If a line of it has another number of fields.
    """
    mark, _ = separator_of(path, first_lines(path))
    return _header(path, mark)[0], mark


def _label_column(header: list[str], path: Path) -> str | None:
    """Return the column of classes: named label, class or target, or y if there is neither x nor z."""
    names = {name.lower() for name in header}
    coordinates = bool({"x", "z"} & names)
    found = [
        name for name in header if name.lower() in LABEL_COLUMNS and not (name.lower() == "y" and coordinates)
    ]
    check(
        len(found) <= 1,
        f"Expected at most one label column in {path}; got {', '.join(found)}. Rename the others.",
    )
    return found[0] if found else None


def _label_notes(header: list[str], label: str | None, labels: NDArray[np.int64] | None) -> Iterator[str]:
    if labels is not None:
        yield (
            f"Column {label!r} was taken as the class of each row ({len(np.unique(labels))} classes) for its name, "
            "and left out of x. Rename it to have it modelled."
        )
    for name in header:
        if name.lower() == "y" and name != label:
            yield f"Column {name!r} was kept as data (beside x or z). If it holds classes, rename it to 'label'."
        if name.lower() in NEARLY_LABELS:
            yield f"Column {name!r} was kept as data. If it holds classes, rename it to 'label'."


def read_amat(path: Path) -> Stored:
    """Read a table of numbers separated by white space, one row per line, without header or labels."""
    return Stored(str(path), _numbers(_frame(path, sep=r"\s+", header=None), path))


def _frame(path: Path, **how: Any) -> pd.DataFrame:
    import pandas as pd

    try:
        return pd.read_csv(path, encoding="utf-8-sig", low_memory=False, **how)
    except ValueError as error:  # pandas' parser errors and wrong encodings are ValueErrors
        raise InputError(f"Expected {path} to be a text table; got {_sentence(error)}.") from error


def _header(path: Path, mark: str) -> tuple[list[str], list[str]]:
    """Return the column names and notes after counting the fields of each line: pandas pads and truncates silently."""
    notes = [] if mark == "," else [f"{path.name} was read with separator {WORDS[mark]}."]
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = (fields for fields in csv.reader(file, delimiter=mark) if fields)
            header = [name.strip() for name in next(lines, [])]
            if header and header[0].startswith("#"):
                header[0] = header[0].lstrip("# ").strip('"')
                notes.append(
                    f"The mark # before the header was not taken as part of the column name {header[0]!r}."
                )
            _check_header(header, path)
            for row, fields in enumerate(lines):
                check(
                    len(fields) == len(header),
                    f"Expected {len(header)} fields in every row of {path}; got {len(fields)} in row {row} {COUNTED}"
                    f"{', a comment: delete such lines' if fields[0].startswith('#') else ''}.",
                )
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"Expected {path} to be a table of UTF-8 text; got {_sentence(error)}.") from error
    return header, notes


def _check_header(header: list[str], path: Path) -> None:
    check(
        not all(_is_number(name) for name in header),
        f"Expected a header with column names in the first line of {path}; got numbers. Give "
        "--header no, or names by --names.",
    )
    for column, name in enumerate(header):
        check(
            name != "",
            f"Expected a name for every column of {path}; column {column} has none. "
            "Choose --likelihood table, which leaves out empty columns and an index, or save the table without it "
            "(frame.to_csv(..., index=False)).",
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
    import pandas as pd

    columns = {name: pd.to_numeric(frame[name], errors="coerce") for name in frame.columns}
    broken = {name: np.flatnonzero(column.isna()) for name, column in columns.items() if column.isna().any()}
    for name, rows in broken.items():
        value = frame[name].iloc[rows[0]]
        others = [str(other) for other in broken if other != name]
        also = f" More columns have entries that are no numbers: {listed(others)}." if others else ""
        raise InputError(
            f"Expected numbers in {path}; got {'an empty field' if pd.isna(value) else repr(value)} in row {rows[0]}, "
            f"column {name} {COUNTED}, {len(rows)} such in that column. "
            f"{cell_hint(value, str(name), frame[name].nunique())}{also}"
        )
    table = np.stack(
        [c.to_numpy(None if c.dtype.kind in "biuf" else float) for c in columns.values()], axis=1
    )
    return table.astype(np.int64 if table.dtype.kind in "bi" else np.float64)


def _sentence(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")
