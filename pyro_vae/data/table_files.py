"""Files of tables to pandas frames: text with any separator, Parquet, Excel. No value is converted here."""

from __future__ import annotations

import csv
import gzip
import io
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pyro_vae._checks import InputError, check
from pyro_vae.data.table_options import SEPARATORS, TableOptions

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "BINARY_ENDINGS",
    "FOUND_ENCODINGS",
    "TABLE_ENDINGS",
    "is_table_file",
    "is_text_table",
    "read_frame",
]

TEXT_ENDINGS = (".csv", ".tsv", ".txt", ".data")
BINARY_ENDINGS = {".parquet": "read_parquet", ".xlsx": "read_excel", ".xls": "read_excel"}
ENGINES = {".parquet": "pyarrow", ".xlsx": "openpyxl", ".xls": "xlrd"}
"""Packages by which pandas reads them."""
TABLE_ENDINGS = (*TEXT_ENDINGS, *BINARY_ENDINGS)
FOUND_ENCODINGS = ("utf-8-sig", "utf-16", "cp1252", "latin-1")
"""Encodings that are determined from a file."""
LINES = 100
"""Lines from which the separator is determined."""
MISSING = ("", "?", "NA", "N/A", "n/a", "NaN", "nan", "null", "NULL", "#N/A")
"""Marks of missing values in every table."""


def is_table_file(path: Path) -> bool:
    """Return whether the ending of a file, before .gz, is that of a table."""
    return _ending(path) in TABLE_ENDINGS


def is_text_table(path: Path) -> bool:
    """Return whether a table is text rather than Parquet or Excel."""
    return _ending(path) not in BINARY_ENDINGS


def read_frame(path: Path, options: TableOptions) -> tuple[pd.DataFrame, TableOptions, tuple[str, ...]]:
    """Return the table of a file, the options that were determined, and notes on them.

    Without a header line, where the header of the determined options is "no", columns are numbered 0, 1, ....

    Raises:
        InputError: If the file cannot be read, its rows differ in length, or options do not fit it.
    """
    try:
        if not is_text_table(path):
            return _read_binary(path), replace(options, header="yes"), ()
        return _read_text(path, options)
    except OSError as error:
        raise InputError(f"Could not read {path}: {error.strerror or error}.") from error


def _ending(path: Path) -> str:
    return (Path(path.stem) if path.suffix.lower() == ".gz" else path).suffix.lower()


def _read_binary(path: Path) -> pd.DataFrame:
    import pandas as pd

    reader = BINARY_ENDINGS[_ending(path)]
    try:
        frame: pd.DataFrame = getattr(pd, reader)(path)
    except ImportError as error:
        package = ENGINES[_ending(path)]
        raise InputError(
            f"Reading {path} needs the package {package}, which is not installed. Install it (pip install {package}), "
            "or save the table as CSV."
        ) from error
    except Exception as error:  # exceptions of the engines have no common class
        raise InputError(f"Expected {path} to be a table; got {_in_line(error)}.") from error
    return frame


def _in_line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")


def _read_text(path: Path, options: TableOptions) -> tuple[pd.DataFrame, TableOptions, tuple[str, ...]]:
    import pandas as pd

    text, encoding = _decoded(path, options)
    numbered = [(number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
    check(bool(numbered), f"Expected rows in {path}; the file holds no text.")
    numbers, lines = map(list, zip(*numbered, strict=True))
    mark = options.mark or _separator(lines[:LINES])
    rows = _rows(path, lines, numbers, mark)
    named = options.header == "yes" or (options.header == "auto" and _has_header(rows))
    check(
        not (named and options.names),
        f"Expected no header line in {path} with --names; its first line is {', '.join(map(repr, rows[0][:8]))}. Leave "
        "--names out, or give --header no if that line is a row.",
    )
    names = [name.strip() for name in rows[0]] if named else None
    if names:
        names[0] = names[0].lstrip("# ")
    rows = rows[named:]
    check(bool(rows), f"Expected rows below the header of {path}; got none.")
    filled = [row for row in rows if any(field.strip() for field in row)]
    check(len(filled) > 0, f"Expected rows with values in {path}; all are empty.")
    found = replace(
        options,
        separator=next((word for word, sign in SEPARATORS.items() if sign == mark), mark),
        encoding=encoding,
        header="yes" if named else "no",
        decimal=_decimal(rows[:LINES], mark) if options.decimal == "auto" else options.decimal,
    )
    frame = pd.DataFrame(filled, columns=names, dtype=object)
    return frame, found, _notes(path.name, found, len(rows) - len(filled))


def _notes(name: str, found: TableOptions, num_empty: int) -> tuple[str, ...]:
    """Return how a file was read with the options that were found, as sentences."""
    if found.header == "yes":
        first = "a header"
    elif found.names:
        first = "no header: columns have the names of --names"
    else:
        first = (
            "no header: columns are called c0, c1, ... (name them so in options, or give names by --names)"
        )
    words = [f"separator {found.separator}", f"encoding {found.encoding.removesuffix('-sig')}"]
    words[1:1] = ["decimal comma"] * (found.decimal == "comma")
    notes = [f"{name} was read with {', '.join(words)} and {first}."]
    if num_empty:
        notes.append(f"{num_empty} empty lines of {name} were left out.")
    return tuple(notes)


def _decoded(path: Path, options: TableOptions) -> tuple[str, str]:
    raw = path.read_bytes()
    if path.suffix.lower() == ".gz":
        try:
            raw = gzip.decompress(raw)
        except (OSError, EOFError) as error:
            raise InputError(f"Expected {path} to be compressed by gzip; got {error}.") from error
    if options.encoding != "auto":
        encodings: tuple[str, ...] = (options.encoding,)
    elif raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        encodings = ("utf-16",)
    else:
        encodings = ("utf-8-sig", "cp1252", "latin-1")
    for encoding in encodings:
        try:
            return raw.decode(encoding), encoding
        except UnicodeDecodeError:
            continue
        except LookupError:
            raise InputError(
                f"Expected an encoding of Python's codecs, such as utf-8; got {encoding!r}."
            ) from None
    raise InputError(
        f"Expected {path} to be text in the encoding {encodings[0]}. Give another by --encoding."
    )


def _separator(lines: Sequence[str]) -> str:
    """Return the mark that splits all lines into the same, largest number of fields."""
    counts = {mark: {len(row) for row in _split(lines, mark)} for mark in (",", ";", "\t", "|", " ")}
    even = {mark: next(iter(found)) for mark, found in counts.items() if len(found) == 1}
    best = max((m for m in even if m != " "), key=lambda m: even[m], default=" ")
    if even.get(best, 0) > 1:
        return best
    return " " if even.get(" ", 0) > 1 else _most_even_separator(lines)


def _decimal(rows: Sequence[Sequence[str]], mark: str) -> str:
    """Return "comma" if columns are separated by semicolons, and numbers have commas but no points; else "auto"."""
    fields = [field.strip() for row in rows for field in row]
    commas, points = (any(re.fullmatch(rf"[+-]?\d+{m}\d+", field) for field in fields) for m in (",", r"\."))
    return "comma" if mark == ";" and commas and not points else "auto"


def _most_even_separator(lines: Sequence[str]) -> str:
    """Return the mark that splits more than half of the rows into the same number of fields, else a blank."""
    shares = {}
    for mark in (",", ";", "\t", "|"):
        widths = [len(row) for row in _split(lines, mark)]
        ((width, times),) = Counter(widths).most_common(1)
        shares[mark] = times / len(widths) if width > 1 else 0.0
    best = max(shares, key=lambda mark: shares[mark])
    return best if shares[best] > 0.5 else " "


def _split(lines: Sequence[str], mark: str, *, strict: bool = False) -> list[list[str]]:
    if mark == " ":
        return [next(csv.reader([" ".join(line.split())], delimiter=" "), []) for line in lines]
    text = io.StringIO("\n".join(lines))
    return list(csv.reader(text, delimiter=mark, skipinitialspace=mark != "\t", strict=strict))


def _split_all(lines: Sequence[str], mark: str) -> list[list[str]]:
    """Split all lines; a quote that is not closed, which would hide the rows below it, raises `csv.Error`."""
    try:
        return _split(lines, mark, strict=True)
    except csv.Error as error:
        if "unexpected end" in str(error):
            raise csv.Error("a quoted field that does not end") from None
        return _split(lines, mark)  # text beside quotes is kept


def _rows(path: Path, lines: Sequence[str], numbers: Sequence[int], mark: str) -> list[list[str]]:
    try:
        rows = [row for row in _split_all(lines, mark) if row]
    except csv.Error as error:
        raise InputError(f"Expected {path} to be a text table; got {error}.") from error
    for place, row in enumerate(rows):
        # Quoted fields may contain line ends.
        where = f"line {numbers[place]}" if len(rows) == len(lines) else f"row {place + 1}"
        check(
            len(row) == len(rows[0]),
            f"Expected {len(rows[0])} fields in every line of {path}, as the first has; got {len(row)} in {where}. "
            "Set the separator with --separator, or correct that line.",
        )
    return rows


def _has_header(rows: Sequence[Sequence[str]]) -> bool:
    """Return whether the first row is names: no number, no missing mark except empty ones at the end, none repeated."""
    first = [field.strip() for field in rows[0]]
    while first and not first[-1]:
        first.pop()
    return bool(first) and not any(_is_number(f) or f in MISSING[1:] for f in first) and _differs(rows)


def _differs(rows: Sequence[Sequence[str]]) -> bool:
    """Return whether at most half of the fields of the first row occur in the rows below."""
    below = rows[1 : 1 + 1000]
    repeated = sum(any(row[j] == name for row in below) for j, name in enumerate(rows[0]) if name.strip())
    return 2 * repeated <= len(rows[0])


def _is_number(text: str) -> bool:
    try:
        float(text.replace(",", "."))
    except ValueError:
        return False
    return True
