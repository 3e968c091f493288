"""`RowFormat`: description of the rows of a data set, used to read, check and prepare new rows."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pyro_vae._checks import InputError
from pyro_vae.data.columns import Column, columns_from_json, columns_to_json
from pyro_vae.data.contexts import Context, context_from_json, context_to_json
from pyro_vae.data.dataset import DataSet
from pyro_vae.data.image_options import AS_THEY_ARE, ImageOptions
from pyro_vae.data.preprocessing import PREPROCESSINGS, Preprocessing
from pyro_vae.data.table_options import TableOptions

__all__ = ["RowFormat"]

AXES = {1: ("columns",), 2: ("height", "width"), 3: ("channels", "height", "width")}
"""Names of the axes of a row, by the number of axes."""


@dataclass(frozen=True, eq=False)
class RowFormat:
    """Shape, preprocessing, context and statistics of the rows of a data set.

    If some entries of a row are context, all attributes describe the whole row.

    Attributes:
        name: Name of the data set.
        data_shape: Shape of one row: (D,), (height, width), or (channels, height, width).
        preprocessing: Map from stored rows to x.
        class_names: Names of classes 0, 1, ..., or None.
        column_names: Names of the D columns, or None.
        mean: Mean of x over the training rows, float64 (D,).
        std: Standard deviation of x over the training rows, float64 (D,).
        image_options: Options for reading images.
        context: The variables that are conditioned on, or None.
        columns: Kinds and levels of the D columns of a table, or None.
        table_options: Options for reading the table, or None.
    """

    name: str
    data_shape: tuple[int, ...]
    preprocessing: Preprocessing
    class_names: tuple[str, ...] | None
    column_names: tuple[str, ...] | None
    mean: Tensor
    std: Tensor
    image_options: ImageOptions = AS_THEY_ARE
    context: Context | None = None
    columns: tuple[Column, ...] | None = None
    table_options: TableOptions | None = None

    @classmethod
    def of(cls, dataset: DataSet) -> RowFormat:
        """Return the format of a data set's rows."""
        whole = dataset.whole or dataset
        mean, std = whole.statistics()
        return cls(
            dataset.name,
            whole.data_shape,
            whole.preprocessing,
            dataset.class_names,
            whole.column_names,
            mean,
            std,
            whole.image_options,
            dataset.context,
            whole.columns,
            whole.table_options,
        )

    @property
    def data_dim(self) -> int:
        """D, the number of entries of a row."""
        return math.prod(self.data_shape)

    @property
    def has_decimal_comma(self) -> bool:
        """Whether tables of such rows are written with decimal commas."""
        return self.table_options is not None and self.table_options.decimal == "comma"

    def to_json(self) -> dict[str, Any]:
        """Return the format as plain values: numbers, texts, lists and dicts."""
        preprocessing: Any = self.preprocessing
        settings = {
            field.name: getattr(preprocessing, field.name) for field in dataclasses.fields(preprocessing)
        }
        return {
            "name": self.name,
            "data_shape": list(self.data_shape),
            "axes": list(AXES.get(len(self.data_shape), range(len(self.data_shape)))),
            "preprocessing": {"kind": type(preprocessing).__name__} | settings,
            "class_names": self.class_names,
            "column_names": self.column_names,
            "mean": self.mean.tolist(),
            "std": self.std.tolist(),
            "images": dataclasses.asdict(self.image_options),
            "context": context_to_json(self.context),
            "columns": columns_to_json(self.columns),
            "table_options": self.table_options and dataclasses.asdict(self.table_options),
        }

    @classmethod
    def from_json(cls, values: Any) -> RowFormat:
        """Return the format that `to_json` wrote.

        Raises:
            InputError: If the values are not a saved format.
        """
        try:
            settings = {name: _plain(value) for name, value in values["preprocessing"].items()}
            made = cls(
                str(values["name"]),
                tuple(map(int, values["data_shape"])),
                PREPROCESSINGS[settings.pop("kind")](**settings),
                _names(values["class_names"]),
                _names(values["column_names"]),
                torch.tensor(values["mean"], dtype=torch.float64),
                torch.tensor(values["std"], dtype=torch.float64),
                ImageOptions.from_json(values.get("images", {})),
                context_from_json(values.get("context")),
                columns_from_json(values.get("columns")),
                TableOptions.from_json(values.get("table_options")),
            )
            if not made.mean.shape == made.std.shape == (made.data_dim,):
                raise ValueError("statistics of another size than the rows")
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(
                f"Expected the saved format of rows; it does not read as one ({error})."
            ) from None
        return made


def _plain(value: Any) -> Any:
    """Return a value of a frozen dataclass from its JSON: lists are tuples there."""
    return tuple(value) if isinstance(value, list) else value


def _names(values: Any) -> tuple[str, ...] | None:
    return None if values is None else tuple(map(str, values))
