"""Parquet and Excel tables as cells that can be replaced one by one, in the types that their columns have."""

from __future__ import annotations

import datetime
from abc import ABC, abstractmethod
from decimal import Decimal
from pathlib import Path
from typing import Any

from pyro_vae._checks import check
from pyro_vae.data.column_values import written
from pyro_vae.storage import write_atomically

__all__ = ["ExcelCells", "ParquetCells", "ValueCells"]


class ValueCells(ABC):
    """A table of values with named columns, whose cells are read and replaced as text.

    A replaced cell has the type of the other values in its column.
    """

    separator = ","

    def __init__(self, names: list[str], columns: list[list[Any]]) -> None:
        self._names = names
        self._columns = columns
        self._known = [{written(v): v for v in values if _is_value(v)} for values in columns]
        self._changed: dict[int, dict[int, Any]] = {}

    @property
    def first_row(self) -> list[str]:
        """The names of the columns."""
        return [name.strip() for name in self._names]

    @property
    def width(self) -> int:
        """The number of columns."""
        return len(self._names)

    def __len__(self) -> int:
        return len(self._columns[0])

    def get(self, row: int, column: int) -> str:
        """Return the text of a cell, "" if it is empty."""
        value = self._columns[column][row]
        return written(value) if _is_value(value) else ""

    def put(self, row: int, column: int, text: str) -> None:
        """Replace a cell by a value that is written as `text`."""
        known = self._known[column]
        value = known[text] if text in known else _of_type(next(iter(known.values()), text), text)
        self._columns[column][row] = value
        self._changed.setdefault(column, {})[row] = value

    def column(self, number: int) -> list[str]:
        """Return the texts of a column."""
        return [self.get(row, number) for row in range(len(self))]

    def write(self, path: Path) -> None:
        """Write the table; all other cells are unchanged."""
        with write_atomically(path) as place:
            self._save(place)

    @abstractmethod
    def _save(self, path: Path) -> None: ...


class ParquetCells(ValueCells):
    """A Parquet table; its schema and metadata are unchanged."""

    def __init__(self, path: Path) -> None:
        import pyarrow.parquet as parquet

        self._table = parquet.read_table(path)
        columns = [column.to_pylist() for column in self._table.columns]
        super().__init__(list(self._table.column_names), columns)

    def _save(self, path: Path) -> None:
        import pyarrow
        import pyarrow.parquet as parquet

        table = self._table
        for number in self._changed:
            field = table.schema.field(number)
            values = pyarrow.array(self._columns[number], type=field.type)
            table = table.set_column(number, field, values)
        parquet.write_table(table, path)


class ExcelCells(ValueCells):
    """The first sheet of an Excel workbook with names in its first row; formats and other sheets stay as they are.

    Raises:
        InputError: If the workbook is of the old format .xls, which cannot be written.
    """

    def __init__(self, path: Path) -> None:
        check(
            path.suffix.lower() == ".xlsx",
            f"Expected an Excel workbook ending in .xlsx, which can be written; got {path}. Save it as .xlsx or CSV.",
        )
        import openpyxl

        self._book = openpyxl.load_workbook(path)
        sheet = self._book.worksheets[0]
        names, *rows = ([cell.value for cell in row] for row in sheet.iter_rows())
        columns = [list(column) for column in zip(*rows, strict=True)]
        super().__init__([written(name) if _is_value(name) else "" for name in names], columns)

    def _save(self, path: Path) -> None:
        sheet = self._book.worksheets[0]
        for column, cells in self._changed.items():
            for row, value in cells.items():
                sheet.cell(row + 2, column + 1).value = value
        self._book.save(path)


def _is_value(value: Any) -> bool:
    return value is not None and value == value


def _of_type(example: Any, text: str) -> Any:
    """Return the value of the type of `example` that is written as `text`."""
    if isinstance(example, bool):
        return text == "True"
    if isinstance(example, int):
        return round(float(text))
    if isinstance(example, float | Decimal):
        return type(example)(text)
    if isinstance(example, datetime.datetime):
        moment = datetime.datetime.fromisoformat(text)
        if moment.tzinfo is not None and example.tzinfo is not None:
            return moment.astimezone(example.tzinfo)
        return moment.replace(tzinfo=example.tzinfo)
    if isinstance(example, datetime.date | datetime.time):
        return type(example).fromisoformat(text)
    return text
