"""Rows to compress under a run: whole numbers, and what else is needed to restore their file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pyro_vae._checks import InputError, check
from pyro_vae.compression.text_around import FIELDS, TextAround
from pyro_vae.data.new_rows import stored_like
from pyro_vae.data.row_format import RowFormat
from pyro_vae.data.stored import Stored
from pyro_vae.data.tables import csv_header
from pyro_vae.experiment.load_data import load_data
from pyro_vae.experiment.load_run import Run

__all__ = ["CHUNK", "RowsToCompress"]

CHUNK = 10_000
"""Number of rows coded as one stream, which is held in memory at once."""


@dataclass(frozen=True)
class RowsToCompress:
    """Rows to compress: whole numbers from `low` upwards.

    Attributes:
        array: Numbers as stored, shape (N, ...).
        low: Number of level 0.
        dtype: Type of the numbers as stored.
        row_shape: Shape of a row in the file.
        image_shape: Shape of a row of the run, channels first.
        levels: Number of levels.
        restored: A sentence that states what decompression gives back.
        around: The text around the numbers of a file of text.
    """

    array: Any
    low: int
    dtype: str
    row_shape: tuple[int, ...]
    image_shape: tuple[int, ...]
    levels: int
    restored: str = ""
    around: TextAround | None = None

    @classmethod
    def of(cls, run: Run, folder: Path, data: Path | None, levels: int) -> RowsToCompress:
        """Return the rows of a file, or the run's test rows.

        Raises:
            InputError: If the rows do not fit the run, or are not whole numbers that it gives probabilities to.
        """
        expected = run.row_format
        check(
            expected is not None,
            f"Expected a run later than version 0.1.0, which describes its rows; {folder} is of version 0.1.0.",
        )
        assert expected is not None
        rows = cls._of_test(run, expected, levels) if data is None else cls._of_file(data, expected, levels)
        return rows if rows.restored else replace(rows, restored=_array_restored(rows, data))

    @classmethod
    def _of_test(cls, run: Run, expected: RowFormat, levels: int) -> RowsToCompress:
        x = torch.cat([block[0] for block in load_data(run.config).test.blocks()])
        array = (x.double() * max(levels - 1, 1)).round().numpy().astype(np.min_scalar_type(levels - 1))
        array = array.reshape(len(array), *expected.data_shape)
        return cls(array, 0, array.dtype.str, array.shape[1:], expected.data_shape, levels)

    @classmethod
    def _of_file(cls, data: Path, expected: RowFormat, levels: int) -> RowsToCompress:
        stored = stored_like(data, expected)
        array, row_shape = stored.array, stored.row_shape or stored.array.shape[1:]
        low = getattr(expected.preprocessing, "low", 0) if levels > 2 else 0
        rows = cls(array, low, array.dtype.str, row_shape, expected.data_shape, levels)
        for chunk in range(0, len(array), CHUNK):
            rows._check(array[chunk : chunk + CHUNK], data)
        return rows._with_text(data, stored)

    def __len__(self) -> int:
        return len(self.array)

    def chunks(self) -> Iterator[NDArray[np.int64]]:
        """Yield levels, shape (rows, data_dim)."""
        for start in range(0, len(self), CHUNK):
            part = np.asarray(self.array[start : start + CHUNK]).astype(np.int64) - self.low
            yield part.reshape(len(part), -1)

    def _with_text(self, path: Path, stored: Stored) -> RowsToCompress:
        ending = path.suffix.lower()
        if ending not in FIELDS:
            return self
        columns: list[int | None] = list(range(stored.array.shape[1]))
        mark = ","
        if stored.column_names is not None:
            places = {name: column for column, name in enumerate(stored.column_names)}
            names, mark = csv_header(path)
            columns = [places.get(name) for name in names]
        numbers = stored.array.reshape(len(stored.array), -1).astype(np.int64)
        around = TextAround.of(path.read_bytes(), ending, columns, [numbers], mark)
        if around is None:
            return self
        return replace(self, restored=f"Decompression gives back the bytes of {path.name}.", around=around)

    def _check(self, values: NDArray[Any], path: Path) -> None:
        highest = self.low + self.levels - 1
        # Minus zero is not a level: it would be decoded as zero, which has other bits.
        whole = values.dtype.kind in "biu" or bool(
            (values == np.round(values)).all() and not (np.signbit(values) & (values == 0)).any()
        )
        if not (whole and values.min() >= self.low and values.max() <= highest):
            raise InputError(
                f"Expected whole numbers from {self.low} to {highest} in {path}, to which the run gives probabilities; "
                f"got {'' if whole else 'fractions or minus zero, '}{values.min():g} to {values.max():g}."
            )


def _array_restored(rows: RowsToCompress, data: Path | None) -> str:
    """Return a sentence on what is kept of rows that are restored as an array."""
    shape = (len(rows), *rows.row_shape)
    kept = f"Decompression gives back the rows as a .npy array, {np.dtype(rows.dtype).name}, shape {shape}"
    if data is None or data.suffix.lower() == ".npy":
        return f"{kept}."
    lost = "file names" if data.is_dir() else "labels and splits" if data.suffix == ".npz" else "the text"
    return f"{kept}, without the {lost.removeprefix('the ')} of {data.name}."
