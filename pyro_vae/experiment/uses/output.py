"""Output files and folders for rows; the ending selects the format."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from pyro_vae._checks import check
from pyro_vae.data.columns import COUNTS
from pyro_vae.data.contexts import ClassContext, EntryContext
from pyro_vae.data.dates import as_date
from pyro_vae.data.preprocessing import AsFloat, Centre
from pyro_vae.data.row_format import RowFormat
from pyro_vae.data.stored_units import in_stored_units
from pyro_vae.storage import write_atomically, write_folder

__all__ = ["Output", "is_image", "range_of", "row_standard_deviations", "whole_rows"]

ENDINGS = {".npy": "array", ".csv": "table", ".png": "picture", "": "folder"}
KINDS = {"array": ".npy", "table": ".csv", "picture": ".png", "folder": "a folder"}


def is_image(row_format: RowFormat) -> bool:
    """Return whether a row is a grey or coloured image."""
    shape = row_format.data_shape
    return len(shape) == 2 or (len(shape) == 3 and shape[0] in (1, 3, 4))


def whole_rows(row_format: RowFormat, x: Tensor, context: tuple[Tensor, ...]) -> Tensor:
    """Return complete rows, shape (N, D): x together with entries that are context."""
    divided = row_format.context
    return divided.joined(x, context[0]) if isinstance(divided, EntryContext) else x


def row_standard_deviations(row_format: RowFormat, sd: Tensor) -> Tensor:
    """Return standard deviations of complete rows, shape (N, D): 0 for entries that are context."""
    divided = row_format.context
    if not isinstance(divided, EntryContext):
        return sd
    whole = sd.new_zeros(len(sd), row_format.data_dim)
    whole[:, list(divided.rest(row_format.data_dim))] = sd
    return whole


def range_of(row_format: RowFormat, x: Tensor) -> tuple[float, float]:
    """Return the values of black and full brightness: 0 and 1, or the range of floats outside of them."""
    if not isinstance(row_format.preprocessing, AsFloat | Centre):
        return (0.0, 1.0)
    low, high = float(x.min()), float(x.max())
    return (0.0, 1.0) if (low >= 0 and high <= 1) or low == high else (low, high)


@dataclass(frozen=True)
class Output:
    """A file or folder to write rows to.

    Attributes:
        path: The file or folder.
        kind: "array", "table", "picture" or "folder".
    """

    path: Path
    kind: str

    @classmethod
    def at(cls, path: Path, row_format: RowFormat, kinds: tuple[str, ...] = tuple(KINDS)) -> Output:
        """Return the output that a path names by its ending.

        Args:
            path: A path ending in .npy, .csv or .png, or a folder without an ending.
            row_format: Format of the rows; pictures and folders are for images.
            kinds: The kinds of output to allow.

        Raises:
            InputError: If the ending is another, rows are not images, or the path cannot be written to.
        """
        images = is_image(row_format)
        possible = [kind for kind in kinds if images or kind not in ("picture", "folder")]
        kind = ENDINGS.get(path.suffix.lower())
        named = " or ".join(KINDS[one] for one in possible)
        about = "" if images or len(possible) == len(kinds) else ", as rows are no images"
        check(kind in possible, f"Expected -o to end in {named}{about}; got {path}.")
        assert kind is not None
        check(
            path.parent.is_dir(),
            f"Expected an existing folder {path.parent} for -o; it does not exist. Create it, or give another path.",
        )
        if kind == "folder":
            empty = not path.exists() or (path.is_dir() and not any(path.iterdir()))
            check(empty, f"Expected a new or empty folder for -o; {path} contains files, or is a file.")
        else:
            check(not path.is_dir(), f"Expected a file for -o; {path} is a folder.")
        return cls(path, kind)

    @property
    def is_shown(self) -> bool:
        """Whether the output is pictures, in a file or a folder."""
        return self.kind in ("picture", "folder")

    def write_rows(
        self,
        rows: Tensor,
        row_format: RowFormat,
        picture: Callable[[], Figure],
        *,
        drawn: bool,
        classes: Tensor | None = None,
    ) -> None:
        """Write rows, arrays and tables in the units of the training file, or a picture of them.

        Args:
            rows: Complete rows, shape (N, D), in data units.
            row_format: Format of the training rows.
            picture: Draws the rows.
            drawn: Whether rows are draws rather than means; draws are whole numbers if the training rows are.
            classes: Class indices, shape (N,), for a column of the table; None if the run has no classes.

        Raises:
            StorageError: If it cannot be written; an existing file is then unchanged.
        """
        if self.kind == "array":
            stored = in_stored_units(rows, row_format.preprocessing, drawn=drawn)
            self.write_array(stored.reshape(-1, *row_format.data_shape))
        elif self.kind == "table":
            self.write_table(_columns(rows, row_format, drawn, classes), row_format)
        elif self.kind == "picture":
            from pyro_vae.plots import save

            save(picture(), self.path)
        else:
            from pyro_vae.plots import write_images

            with write_folder(self.path) as folder:
                write_images(folder, rows, row_format.data_shape, value_range=range_of(row_format, rows))

    def write_array(self, array: NDArray[Any], path: Path | None = None) -> None:
        """Write an array as .npy, to `path` if given."""
        with write_atomically(path or self.path) as temporary, temporary.open("wb") as file:
            np.save(file, array, allow_pickle=False)

    def write_table(self, columns: Mapping[str, Any], row_format: RowFormat | None = None) -> None:
        """Write columns by name as text, with the separator and decimal mark of the training file."""
        import pandas as pd

        options = row_format and row_format.table_options
        decimal = "," if row_format and row_format.has_decimal_comma else "."
        separator = (options and options.mark) or (";" if decimal == "," else ",")
        with write_atomically(self.path) as temporary:
            pd.DataFrame(columns).to_csv(
                temporary, index=False, sep=separator, decimal=decimal, float_format="%.7g", encoding="utf-8"
            )


def _far_from_zero(values: NDArray[Any], offset: float, mark: str) -> NDArray[np.object_]:
    """Return numbers as text, with the 7 digits of float32 after the offset is subtracted."""
    largest = float(np.abs(values - offset).max()) or 1.0
    decimals = max(0, 6 - math.floor(math.log10(largest)))
    return np.array([f"{value:.{decimals}f}".replace(".", mark) for value in values], dtype=object)


def _columns(rows: Tensor, row_format: RowFormat, drawn: bool, classes: Tensor | None) -> dict[str, Any]:
    """Return the columns of a table by name: levels as text, drawn counts as whole numbers."""
    stored = in_stored_units(rows, row_format.preprocessing, drawn=drawn)
    names = row_format.column_names or tuple(f"x{number}" for number in range(stored.shape[1]))
    columns: dict[str, Any] = {}
    for number, name in enumerate(names):
        values = stored[:, number]
        column = row_format.columns[number] if row_format.columns else None
        if column is not None and column.levels:
            columns[name] = np.array(column.levels, dtype=object)[values.round().astype(int)]
        elif column is not None and column.kind in COUNTS and drawn:
            columns[name] = values.round().astype(np.int64)
        elif column is not None and column.date_format:
            columns[name] = np.array([as_date(v, column.date_format) for v in values], dtype=object)
        elif offset := getattr(row_format.preprocessing, "offset", {number: 0.0})[number]:
            columns[name] = _far_from_zero(values, offset, "," if row_format.has_decimal_comma else ".")
        else:
            columns[name] = values
    if classes is not None and isinstance(row_format.context, ClassContext):
        given = row_format.table_options.label_column if row_format.table_options else ""
        columns[given or "label"] = np.array(row_format.context.classes, dtype=object)[classes.cpu().numpy()]
    return columns
