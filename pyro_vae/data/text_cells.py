"""Text tables with cells that can be replaced one by one; all other bytes are unchanged."""

from __future__ import annotations

import codecs
import gzip
import re
from collections.abc import Sequence
from pathlib import Path

from pyro_vae._checks import InputError, check
from pyro_vae.storage import write_atomically

__all__ = ["MISSING_MARKS", "TextCells"]

MISSING_MARKS = frozenset({"", "?", "-", ".", "na", "n/a", "nan", "null", "none"})
"""Marks of a missing value in any column, in lower case."""
SEPARATORS = (",", ";", "\t", "|", " ")
LOOKED_AT = 200
"""Lines from which the separator is determined."""


class TextCells:
    """A text table, split into fields and the separators between them.

    Bytes that are not valid in the encoding are kept as they are; a file ending in .gz is compressed by gzip. Lines
    without any field are not rows.

    Args:
        path: The file.
        separator: Separator of fields; if None, the one with the most fields per line, the same number in each.
        encoding: Encoding of the text.

    Raises:
        InputError: If the file cannot be read, or its lines have different numbers of fields.
    """

    def __init__(self, path: Path, separator: str | None = None, encoding: str = "utf-8") -> None:
        try:
            raw = path.read_bytes()
            raw = gzip.decompress(raw) if _is_packed(path) else raw
        except OSError as error:
            raise InputError(f"Could not read {path}: {error.strerror or error}.") from error
        self._encoding = _with_mark_as_text(encoding, raw)
        lines = _lines(raw.decode(self._encoding, "surrogateescape"))
        self.separator = separator or _separator(lines)
        self.parts = [_cut(line, self.separator) for line in lines]
        rows = [number for number, parts in enumerate(self.parts) if any(part.strip() for part in parts[::2])]
        check(bool(rows), f"Expected rows in {path}; got none.")
        self.width = len(self.parts[rows[0]]) // 2
        for number in rows:
            count = len(self.parts[number]) // 2
            check(
                count == self.width,
                f"Expected {self.width} fields in every line of {path}; got {count} in line {number + 1}.",
            )
        self._rows = rows

    @property
    def first_row(self) -> list[str]:
        """The fields of the first line, without quotes and surrounding space: the names of the columns, or a row."""
        return [self._plain(self.parts[self._rows[0]][2 * column]) for column in range(self.width)]

    def skip_header(self) -> None:
        """Count rows from the next line on."""
        self._rows = self._rows[1:]

    def __len__(self) -> int:
        return len(self._rows)

    def get(self, row: int, column: int) -> str:
        """Return the text of a cell, without quotes and surrounding space."""
        return self._plain(self.parts[self._rows[row]][2 * column])

    def put(self, row: int, column: int, text: str) -> None:
        """Replace the text of a cell, quoted if it contains the separator; surrounding space is kept."""
        if self.separator in text or '"' in text:
            text = '"' + text.replace('"', '""') + '"'
        parts = self.parts[self._rows[row]]
        old = parts[2 * column]
        stripped = old.strip(" \t" if self.separator != "\t" else " ")
        start = old.index(stripped) if stripped else len(old)
        parts[2 * column] = old[:start] + text + old[start + len(stripped) :]

    def column(self, number: int) -> list[str]:
        """Return the texts of a column."""
        return [self.get(row, number) for row in range(len(self))]

    def write(self, path: Path) -> None:
        """Write the table; all bytes outside replaced cells are unchanged."""
        with write_atomically(path) as place:
            text = "".join("".join(parts) for parts in self.parts)
            raw = text.encode(self._encoding, "surrogateescape")
            place.write_bytes(gzip.compress(raw, mtime=0) if _is_packed(path) else raw)

    @staticmethod
    def _plain(field: str) -> str:
        text = field.strip().removeprefix("\ufeff")
        if len(text) >= 2 and text[0] == text[-1] == '"':
            text = text[1:-1].replace('""', '"')
        return text


def _with_mark_as_text(encoding: str, raw: bytes) -> str:
    """Return the encoding under which a byte order mark is a character of the text, so that it is kept."""
    known = {"utf-8-sig": "utf-8", "utf-16": "utf-16-be" if raw[:2] == codecs.BOM_UTF16_BE else "utf-16-le"}
    return known.get(encoding.lower(), encoding)


def _is_packed(path: Path) -> bool:
    return path.suffix.lower() == ".gz"


def _lines(text: str) -> list[str]:
    """Return the lines with their ends; a quoted field may hold an end of line."""
    lines: list[str] = []
    for piece in re.findall(r"[^\n]*\n|[^\n]+", text):
        if lines and lines[-1].count('"') % 2:
            lines[-1] += piece
        else:
            lines.append(piece)
    return lines


def _cut(line: str, separator: str) -> list[str]:
    """Return field, separator, field, ..., with the end of the line as the last separator."""
    body = line.rstrip("\r\n")
    between = "( +)" if separator == " " else f"({re.escape(separator)})"
    if '"' in body:
        between += r'(?=(?:[^"]*"[^"]*")*[^"]*$)'  # an even number of quotes follows
    return [*re.split(between, body), line[len(body) :]]


def _separator(lines: Sequence[str]) -> str:
    """Return the separator that splits each of the first lines into the same, largest number of fields."""
    some = [line for line in lines[:LOOKED_AT] if line.strip()]
    widths = {each: {len(_cut(line.strip(" "), each)) // 2 for line in some} for each in SEPARATORS}
    equal = {each: found.pop() for each, found in widths.items() if len(found) == 1}
    return max(equal, key=lambda each: equal[each], default=",")
