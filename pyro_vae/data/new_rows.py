"""New rows from a file, prepared in the same way as the training rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from pyro_vae._checks import InputError, check
from pyro_vae.data.context_like import with_context_like
from pyro_vae.data.mixed_tables import read_table_like
from pyro_vae.data.packed_bits import unpacked
from pyro_vae.data.preprocessing import AsFloat, Centre, Dequantize, IntegerLevels, Preprocessing
from pyro_vae.data.readers import read
from pyro_vae.data.row_format import RowFormat
from pyro_vae.data.splits import Split
from pyro_vae.data.stored import Stored, Survey, rows_of, survey
from pyro_vae.data.table_options import AS_FOUND
from pyro_vae.data.units import LikelihoodKind

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["rows_like", "stored_like"]

FARTHEST = 20.0
"""Largest median distance of rows from the training mean, in typical standard deviations; beyond, units differ."""
SHOWN_NAMES = 8
"""Largest number of column names in a message."""


def rows_like(
    path: Path | pd.DataFrame, expected: RowFormat, likelihood_kind: LikelihoodKind = "continuous"
) -> tuple[Split, tuple[str, ...]]:
    """Read all rows of a file as a split named after it, with the preprocessing of the training rows.

    Columns are matched by name, in any order, if both have names; otherwise by position.

    Args:
        path: Path that `load_dataset` can read; also a DataFrame, for a run on a table.
        expected: Format of the training rows.
        likelihood_kind: Kind of p(x | z); see `load_dataset`.

    Returns:
        The rows, and notes on the file.

    Raises:
        InputError: If the file cannot be read, or its rows are of another shape, range or unit than the training rows.
    """
    stored = stored_like(path, expected)
    found = survey(stored)
    preprocessing = expected.preprocessing
    if likelihood_kind != "table":
        _check_range(stored, found, preprocessing, likelihood_kind)
    rows = rows_of(stored.array, found.low, found.high, exact=isinstance(preprocessing, Centre))
    name = path.stem if isinstance(path, Path) else stored.name
    split = Split(name, rows, np.arange(len(rows)), preprocessing)
    split = with_context_like(split, stored, expected)
    measured = isinstance(preprocessing, AsFloat | Centre) and expected.columns is None
    if measured and likelihood_kind != "binary":
        _check_unit(split, expected)
    return split, stored.notes


def stored_like(path: Path | pd.DataFrame, expected: RowFormat) -> Stored:
    """Read all rows of a file as they are stored, with the columns in the order of the training rows.

    Args:
        path: Path that `load_dataset` can read.
        expected: Format of the training rows.

    Raises:
        InputError: If the file cannot be read, or its rows are of another shape.
    """
    if expected.columns is not None:
        return read_table_like(path, expected.columns, expected.table_options or AS_FOUND)
    if not isinstance(path, Path):
        raise InputError(
            f"Expected the path of a file, as the run was not trained on a table; got {type(path).__name__}."
        )
    stored = _in_order(_read(path, expected), expected)
    _check_shape(stored, expected)
    return stored


def _read(path: Path, expected: RowFormat) -> Stored:
    """Read a folder as the training images were read, and a file whose rows may be packed bits as those were."""
    options = expected.image_options
    if path.is_dir():
        in_colour = options.colours == "auto" and expected.data_shape[:-2] == (3,)
        return read(path, replace(options, packed_bits=None, colours="rgb" if in_colour else options.colours))
    stored = read(path)
    packed = options.packed_bits and stored.array[0].size == options.packed_width() != expected.data_dim
    return unpacked(stored, options) if packed else stored


def _in_order(stored: Stored, expected: RowFormat) -> Stored:
    """Return the columns in the order of the training rows, if both have names."""
    theirs, ours = expected.column_names, stored.column_names
    if theirs is None or ours is None or ours == theirs:
        return stored
    missing = [name for name in theirs if name not in ours]
    extra = [name for name in ours if name not in theirs]
    differences = [f"lacks {_described(missing)}"] * bool(missing) + [
        f"has {_described(extra)} besides"
    ] * bool(extra)
    check(
        not differences,
        f"Expected the columns that the run was trained on, {_described(theirs)}, in {stored.name}; it "
        f"{' and '.join(differences)}. Give the same columns, in any order.",
    )
    order = [ours.index(name) for name in theirs]
    return replace(stored, array=stored.array[:, order], column_names=theirs)


def _described(names: tuple[str, ...] | list[str]) -> str:
    return ", ".join(map(repr, names[:SHOWN_NAMES])) + (", ..." if len(names) > SHOWN_NAMES else "")


def _check_shape(stored: Stored, expected: RowFormat) -> None:
    shape = stored.array.shape[1:]
    check(
        shape in (expected.data_shape, (expected.data_dim,)),
        f"Expected rows of shape {expected.data_shape}, or flat ones of {expected.data_dim}, in {stored.name}, as "
        f"{expected.name} has, which the run was trained on; got {shape}.",
    )


def _check_range(stored: Stored, found: Survey, preprocessing: Preprocessing, kind: LikelihoodKind) -> None:
    if isinstance(preprocessing, AsFloat | Centre):
        low, high = (-np.inf, np.inf) if kind == "continuous" else (0.0, 1.0)
        whole = kind == "binary"
    elif isinstance(preprocessing, Dequantize | IntegerLevels):
        low, high, whole = preprocessing.low, preprocessing.low + preprocessing.levels - 1, True
    else:
        low, high, whole = getattr(preprocessing, "low", 0), getattr(preprocessing, "high", 1), False
    if not (low <= found.low and found.high <= high and (found.whole or not whole)):
        raise InputError(
            f"Expected {'whole numbers' if whole else 'values'} from {low:g} to {high:g} in {stored.name}, as the run "
            f"was trained on ({preprocessing.description}); got {'' if found.whole else 'fractions '}"
            f"{found.low:g} to {found.high:g}. Bring them to the same unit."
        )


def _check_unit(split: Split, expected: RowFormat) -> None:
    """Raise `InputError` if typical rows are so far from the training mean that they must be in another unit."""
    typical = expected.std.square().mean().sqrt().clamp_min(torch.finfo(torch.float32).tiny)
    distance = torch.cat(
        [
            (x - expected.mean).square().mean(1).sqrt() / typical
            for x, *_ in replace(split, divided=None).blocks()
        ]
    ).median()
    check(
        bool(distance <= FARTHEST),
        f"Expected rows in the unit of {expected.name}, which the run was trained on; half of those in {split.name} "
        f"lie more than {distance:.0f} of its standard deviations from its mean. Bring them to the same unit.",
    )
