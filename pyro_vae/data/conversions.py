"""Hints for files in unsupported formats: the line of Python that converts them."""

from __future__ import annotations

import csv
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pyro_vae._checks import InputError, check

__all__ = ["cell_hint", "ending_hint", "first_lines", "separator_of"]

SEPARATORS = (";", "\t", "|")
COMMENTS = ("#", "%", "//")
DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")
MISSING = ("?", "-", "--", ".", "*", "missing", "unknown", "none", "nil", "n.a.", "#n/a", "#div/0!")
LINES = 50
MANY = 50
FRAMES = {
    ".tsv": "read_csv({path!r}, sep='\\t')",
    ".xlsx": "read_excel({path!r})",
    ".xls": "read_excel({path!r})",
    ".ods": "read_excel({path!r})",
    ".parquet": "read_parquet({path!r})",
    ".feather": "read_feather({path!r})",
    ".json": "read_json({path!r})",
    ".jsonl": "read_json({path!r}, lines=True)",
    ".sas7bdat": "read_sas({path!r})",
    ".dta": "read_stata({path!r})",
    ".sav": "read_spss({path!r})",
}
OTHERS = {
    ".gz": "Unpack it first (gunzip).",
    ".bz2": "Unpack it first (bunzip2).",
    ".xz": "Unpack it first (unxz).",
    ".zip": "Unpack it first, and give the file or folder of images inside.",
    ".tar": "Unpack it first, and give the file or folder of images inside.",
    ".tgz": "Unpack it first, and give the file or folder of images inside.",
    ".mat": "Convert it: numpy.save('x.npy', scipy.io.loadmat(PATH)['NAME']).",
    ".arff": "Convert it: pandas.DataFrame(scipy.io.arff.loadarff(PATH)[0]).to_csv('table.csv', index=False).",
    ".h5": "Convert it: numpy.save('x.npy', h5py.File(PATH)['NAME'][:]).",
    ".hdf5": "Convert it: numpy.save('x.npy', h5py.File(PATH)['NAME'][:]).",
    ".pt": "Convert it: numpy.save('x.npy', torch.load(PATH, weights_only=True).numpy()).",
    ".pth": "Convert it: numpy.save('x.npy', torch.load(PATH, weights_only=True).numpy()).",
    ".pkl": "Pickles are never loaded because they can run code. Save its rows by numpy.save.",
    ".pickle": "Pickles are never loaded because they can run code. Save its rows by numpy.save.",
}
TEXTS = (".data", ".txt", ".dat", ".asc", ".test", "")


def ending_hint(path: Path) -> str:
    """Return how to convert a file with an unsupported ending, or "" if no conversion is known."""
    ending = path.suffix.lower()
    if ending in FRAMES:
        return f"Convert it: pandas.{FRAMES[ending].format(path=str(path))}.to_csv('table.csv', index=False)."
    if ending in OTHERS:
        return OTHERS[ending].replace("PATH", repr(str(path)))
    image = ending in (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")
    if image:
        return "One image is one row: give the folder that holds the images."
    return _text_hint(path) if ending in TEXTS else ""


def _text_hint(path: Path) -> str:
    try:
        lines = first_lines(path)
    except InputError:
        return ""
    mark = next((mark for mark in (",", *SEPARATORS) if _even(_fields(lines, mark))), None)
    named = not any(_numeric(field) for field in lines[0].split(mark))
    options: dict[str, Any] = {"sep": mark or " "} | (
        {"skipinitialspace": True} if mark in (",", None) else {}
    )
    header = "" if named else ", header=None, names=[...]"
    return _to_csv(path, header, **options)


def first_lines(path: Path) -> list[str]:
    """Return the first lines of a text file that are not blank.

    Raises:
        InputError: If the file is not UTF-8 text, or contains no text.
    """
    with path.open("rb") as file:
        start = file.read(4)
    if start[:2] in (b"\xff\xfe", b"\xfe\xff") and b"\0" in start:
        raise InputError(f"Expected {path} to be UTF-8 text; got UTF-16. Give --encoding utf-16.")
    lines: list[str] = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as text:
            for line in text:
                lines += [line] if line.strip() else []
                if len(lines) == LINES:
                    break
    except UnicodeDecodeError as error:
        raise InputError(
            f"Expected {path} to be UTF-8 text; got {error}. Give its encoding, such as --encoding cp1252."
        ) from error
    check(bool(lines), f"Expected a header in {path}; the file holds no text.")
    return lines


def separator_of(path: Path, lines: Sequence[str]) -> tuple[str, str]:
    """Return the separator of a table and its decimal mark, from its first lines.

    Raises:
        InputError: If the first line is a comment, or columns are separated by blanks.
    """
    first = lines[0].lstrip()
    named = [first.lstrip("#%/ "), *lines[1:]] if first.startswith(COMMENTS) else lines
    mark = next((mark for mark in (",", *SEPARATORS) if _even(_fields(named, mark))), None)
    if first.startswith(COMMENTS) and mark is None:
        comment = next(mark for mark in COMMENTS if first.startswith(mark))
        rows = sum(line.lstrip().startswith(comment) for line in lines)
        raise InputError(
            f"Expected a header with column names in the first line of {path}; got a comment, {_short(first)!r} "
            f"({rows} of the first {len(lines)} lines begin with {comment!r}). "
            f"{_to_csv(path, comment=comment[0])}"
        )
    if mark not in (None, ","):
        has_comma = any(
            DECIMAL_COMMA.fullmatch(f.strip(' "\r\n')) for line in lines[1:] for f in line.split(mark)
        )
        return mark, "," if has_comma else "."
    blanks = [len(line.split()) for line in lines]
    check(
        any("," in line for line in lines) or not _even(blanks) or not any(map(_numeric, lines[-1].split())),
        f"Expected columns of {path} to be separated by a comma, semicolon, tab or bar; got blanks (the header is "
        f"{_short(first)!r}). Give --separator blank.",
    )
    return ",", "."


def _to_csv(path: Path, more: str = "", **options: Any) -> str:
    given = "".join(f", {name}={value!r}" for name, value in options.items())
    return f"Convert it: pandas.read_csv({str(path)!r}{given}{more}).to_csv('table.csv', index=False)."


def _fields(lines: Sequence[str], mark: str) -> list[int]:
    try:
        return [len(fields) for fields in csv.reader(lines, delimiter=mark, skipinitialspace=True)]
    except csv.Error:
        return []


def _even(counts: Sequence[int]) -> bool:
    return len(set(counts)) == 1 and counts[0] > 1


def _numeric(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _short(text: str) -> str:
    line = text.strip()
    return line if len(line) <= 60 else f"{line[:57]}..."


def cell_hint(value: Any, name: str, different: int) -> str:
    """Return advice for a column `name` with `different` values, of which `value` is not a number."""
    text = str(value).strip()
    if not isinstance(value, str):
        return "Choose --likelihood table for missing values, or fill the gaps first (frame.fillna)."
    if text.lower() in MISSING:
        return (
            f"If {value!r} marks a missing value choose --likelihood table (--missing {text!r}), or read with "
            f"na_values={text!r} and fill the gaps first."
        )
    if DECIMAL_COMMA.fullmatch(text):
        return "If that is a decimal comma, give --decimal comma; if it separates thousands, --decimal point."
    if _is_date(text):
        return "If that is a date, choose --likelihood table, which models dates as days."
    if len(text) > 1 and (_numeric(text.strip("%$€£ ")) or _numeric(text.replace(",", ""))):
        return "Take units, signs and separators of thousands out of its numbers first."
    if different > MANY:
        return f"Drop it ({different} different values, no classes), or choose --likelihood table."
    return (
        f"Choose --likelihood table for columns of text ({different} different values here), name it 'label' if it "
        f"holds the classes, or encode it: pandas.get_dummies(frame, columns=[{name!r}], dtype=int)."
    )


def _is_date(text: str) -> bool:
    import pandas as pd

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the format, which cannot be inferred
        return bool(re.search(r"\d[-/.:]\d", text)) and not pd.isna(pd.to_datetime(text, errors="coerce"))
