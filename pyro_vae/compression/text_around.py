"""The text around the numbers of a table, so that a file of text can be restored byte for byte."""

from __future__ import annotations

import lzma
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray

__all__ = ["TextAround"]

FIELDS = {".csv": rb' *"((?:[^"]|"")*)"| *([^%s\r\n]+)', ".amat": rb"(\S+)"}
"""Pattern of a field by the ending of a file, with a place for the separator; the group that matches is its content."""
NUMBER, LITERAL = b"\0", b"\1"
"""Marks a number that was cut out; and one whose own text follows, since it does not begin with the number ("07")."""
MARKS = re.compile(rb"[\0\1]")


class TextAround:
    """A text whose numbers are cut out, each replaced by a mark.

    Attributes:
        text: The text with its marks.
        columns: For each number of a row, in the order of the text, its column in the array of numbers.
    """

    def __init__(self, text: bytes, columns: Sequence[int]) -> None:
        self.text = text
        self.columns = list(columns)

    @classmethod
    def of(
        cls,
        content: bytes,
        ending: str,
        columns: Sequence[int | None],
        rows: Iterable[NDArray[np.int64]],
        separator: str = ",",
    ) -> TextAround | None:
        """Return the text around numbers, or None if it contains one of the marks.

        Args:
            content: The whole file.
            ending: Its ending, a key of `FIELDS`. A `.csv` file has a line of names.
            columns: For each field of a line, its column in the array, or None if it is in none.
            rows: The numbers, shape (n, D) each.
            separator: Separator of the fields of a `.csv` file.
        """
        if MARKS.search(content):
            return None
        pattern = FIELDS[ending] % re.escape(separator.encode()) if ending == ".csv" else FIELDS[ending]
        header = len(columns) if ending == ".csv" else 0
        fields = islice(re.finditer(pattern, content), header, None)
        cut, place = list[bytes](), 0
        for numbers in rows:
            for row in numbers.tolist():
                for column, field in zip(columns, fields, strict=False):
                    if column is not None:
                        start, text = field.start(field.lastindex or 0), b"%d" % row[column]
                        shown = content.startswith(text, start)
                        cut += [content[place:start], NUMBER if shown else LITERAL]
                        place = start + len(text) * shown
        cut.append(content[place:])
        return cls(b"".join(cut), [column for column in columns if column is not None])

    def filled(self, rows: Iterable[NDArray[np.int64]]) -> Iterator[bytes]:
        """Yield the text with its numbers, in parts.

        Args:
            rows: All numbers in order, shape (n, D) each.
        """
        place, marks = 0, MARKS.finditer(self.text)
        for numbers in rows:
            parts = list[bytes]()
            for number, mark in zip(numbers[:, self.columns].ravel().tolist(), marks, strict=False):
                parts.append(self.text[place : mark.start()])
                if mark.group() == NUMBER:
                    parts.append(b"%d" % number)
                place = mark.end()
            yield b"".join(parts)
        yield self.text[place:]

    def packed(self) -> bytes:
        """Return the text, compressed by xz."""
        return lzma.compress(self.text, preset=9)

    @classmethod
    def unpacked(cls, packed: bytes, columns: Sequence[int]) -> TextAround:
        """Return the text from what `packed` returned."""
        return cls(lzma.decompress(packed), columns)
