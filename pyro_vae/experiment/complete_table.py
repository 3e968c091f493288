"""Completion of the missing cells of a table, in the format of its file."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from pyro_vae._checks import check
from pyro_vae.data.dates import as_date, date_format
from pyro_vae.data.table_files import BINARY_ENDINGS
from pyro_vae.data.table_options import AS_FOUND, TableOptions
from pyro_vae.data.text_cells import MISSING_MARKS, TextCells
from pyro_vae.data.value_cells import ExcelCells, ParquetCells
from pyro_vae.evaluate.imputation import Imputation
from pyro_vae.storage import write_atomically

__all__ = ["CompletedTable", "places_of"]

MOST_DECIMALS = 10

Cells = TextCells | ParquetCells | ExcelCells


def places_of(
    cells: Cells, names: Sequence[str], num_rows: int, in_file: Sequence[str] | None = None
) -> list[int]:
    """Return the positions of the named columns in a table of `num_rows` rows, and skip its header if it has one.

    Without a header, columns are named by their number, such as "c3" or "column 3", or the table has as many columns as
    there are names.

    Args:
        cells: The table.
        names: Names of the columns to find.
        num_rows: Number of rows that were read.
        in_file: Names of all columns of the table; if None, the fields of its first line.

    Raises:
        InputError: If a column cannot be found, or the number of rows differs.
    """
    header = cells.first_row if in_file is None else list(in_file)
    header[0] = header[0].lstrip("# ")
    if isinstance(cells, TextCells) and len(cells) == num_rows + 1:
        cells.skip_header()
    check(
        len(cells) == num_rows,
        f"Expected {num_rows} rows in the table, as were read; got {len(cells)}. Leave out lines that hold no row.",
    )
    if set(names) <= set(header):
        return [header.index(name) for name in names]
    numbers = [re.fullmatch(r"(?:c|column )?(\d+)", name) for name in names]
    places = [int(number[1]) for number in numbers if number]
    if len(places) == len(names) and max(places) < cells.width:
        return places
    check(
        len(names) == cells.width,
        f"Expected the columns that the run was trained on, {', '.join(names[:8])}; the table has "
        f"{', '.join(header[:8])}.",
    )
    return list(range(cells.width))


def cells_of(path: Path, options: TableOptions = AS_FOUND) -> Cells:
    """Return the cells of a table in any supported format.

    Args:
        path: The table.
        options: Separator and encoding of a text table.

    Raises:
        InputError: If the file cannot be read, or its format cannot be written.
    """
    reader = BINARY_ENDINGS.get(path.suffix.lower())
    if reader is None:
        encoding = "utf-8" if options.encoding == "auto" else options.encoding
        return TextCells(path, options.mark, encoding)
    return ParquetCells(path) if reader == "read_parquet" else ExcelCells(path)


@dataclass(frozen=True)
class CompletedTable:
    """A table and the imputations of its missing entries.

    Args:
        path: The table: text, Parquet or Excel.
        names: Names of the D columns of x.
        levels: Levels of each column of x, in order; empty for a column without levels.
        missing: Whether each entry was missing, shape (N, D).
        imputation: Imputation of the same rows.
        marks: Additional marks of missing values; numbers are compared as numbers.
        options: Separator and encoding of a text table.
        in_file: Names of all columns of the table; if None, the fields of its first line.
    """

    path: Path
    names: Sequence[str]
    levels: Sequence[tuple[str, ...]]
    missing: Tensor
    imputation: Imputation
    marks: Sequence[str] = ()
    options: TableOptions = AS_FOUND
    in_file: Sequence[str] | None = None

    def write(self, out: Path) -> list[Path]:
        """Write the completed table to `out`, its draws next to it, and the statistics of each imputed cell.

        Returns:
            The files: `out`, `<stem>.draw1<ending>`, ..., and `<stem>.cells.csv` with value, standard deviation or
            probability of each cell.

        Raises:
            InputError: If the rows or columns of the table differ from those of x.
        """
        draws = [
            (out.with_name(f"{out.stem}.draw{n + 1}{out.suffix}"), x)
            for n, x in enumerate(self.imputation.draws)
        ]
        completed = [(out, self.imputation.value), *draws]
        for path, x in completed:
            self._filled(x).write(path)
        statistics = out.with_name(f"{out.stem}.cells.csv")
        with write_atomically(statistics) as place:
            place.write_text(self._cells(), encoding="utf-8")
        return [*(path for path, _ in completed), statistics]

    def _filled(self, x: Tensor) -> Cells:
        cells = cells_of(self.path, self.options)
        places = places_of(cells, self.names, len(x), self.in_file)
        for j, place in enumerate(places):
            rows = self.missing[:, j].nonzero().flatten().tolist()
            written = self._writer(j, cells, place) if rows else str
            for row in rows:
                if self.levels[j] and not self._is_mark(cells.get(row, place)):
                    continue  # a level unknown to the run is not a missing value
                cells.put(row, place, written(float(x[row, j])))
        return cells

    def _writer(self, j: int, cells: Cells, place: int) -> Callable[[float], str]:
        """Return the function that writes the values of a column: as levels, as dates, or with its decimals."""
        levels = self.levels[j]
        if levels:
            return lambda value: levels[round(value)]
        seen = [text for row, text in enumerate(cells.column(place)) if not self.missing[row, j]]
        if (dates := date_format(seen)) is not None:
            return lambda value: as_date(value, dates)
        comma = cells.separator != "," and any("," in text for text in seen)
        decimals = min(max((_decimals(text) for text in seen), default=MOST_DECIMALS), MOST_DECIMALS)
        return lambda value: f"{value:.{decimals}f}".replace(".", "," if comma else ".")

    def _is_mark(self, text: str) -> bool:
        numbers = map(_number, self.marks)
        return text.lower() in MISSING_MARKS or text in self.marks or _number(text) in numbers

    def _cells(self) -> str:
        text = io.StringIO()
        lines = csv.writer(text, lineterminator="\n")
        lines.writerow(["row", "column", "value", "sd", "probability", "effective_samples"])
        found = self.imputation
        for row, j in self.missing.nonzero().tolist():
            value, levels = float(found.value[row, j]), self.levels[j]
            shown: Any = levels[round(value)] if levels else value
            spread: list[Any] = (
                ["", float(found.probability[row, j])] if levels else [float(found.sd[row, j]), ""]
            )
            lines.writerow([row, self.names[j], shown, *spread, float(found.ess[row])])
        return text.getvalue()


def _number(text: str) -> float:
    """Return the value of a number; NaN, which equals nothing, for other text."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def _decimals(text: str) -> int:
    """Return the number of decimals of a number as written; a large one if it has an exponent."""
    if "e" in text.lower():
        return MOST_DECIMALS
    return len(re.split(r"[.,]", text)[1]) if re.search(r"[.,]", text) else 0
