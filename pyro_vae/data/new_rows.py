"""Rows that were not trained on, from a file, prepared as a data set's own rows are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from pyro_vae._checks import InputError, check
from pyro_vae.data.preprocessing import AsFloat, Centre, Dequantize, Preprocessing
from pyro_vae.data.readers import read
from pyro_vae.data.splits import DataSet, Split
from pyro_vae.data.stored import Stored, Survey, rows_of, survey

__all__ = ["rows_like"]

FARTHEST = 20.0
"""Typical standard deviations that half of the rows may lie from the training mean: beyond, units differ."""


def rows_like(path: Path, dataset: DataSet, *, binary: bool = False) -> Split:
    """Read all rows of a file, as a split named after it, under the preprocessing of a data set.

    Args:
        path: What `load_dataset` reads.
        dataset: What was trained on.
        binary: Whether x must be zeros and ones.

    Raises:
        InputError: If the file cannot be read, or its rows are of another shape or range than those of the data
            set.
    """
    stored = read(path.expanduser())
    _check_shape(stored, dataset)
    found = survey(stored)
    _check_range(stored, found, dataset.preprocessing, binary)
    exact = isinstance(dataset.preprocessing, Centre)
    rows = rows_of(stored.array, found.low, found.high, exact=exact)
    split = Split(path.stem, rows, np.arange(len(rows)), dataset.preprocessing)
    if isinstance(dataset.preprocessing, AsFloat | Centre) and not binary:
        _check_unit(split, dataset)
    return split


def _check_shape(stored: Stored, dataset: DataSet) -> None:
    shape = stored.array.shape[1:]
    check(
        shape in (dataset.data_shape, (dataset.data_dim,)),
        f"Expected rows of shape {dataset.data_shape}, or flat ones of {dataset.data_dim}, in {stored.name}, as "
        f"{dataset.name} has, which the run was trained on; got {shape}.",
    )
    ours, theirs = stored.column_names, dataset.column_names
    check(
        None in (ours, theirs) or ours == theirs,
        f"Expected the columns of {dataset.name} in their order, {_told(theirs)}; {stored.name} has {_told(ours)}.",
    )


def _told(names: tuple[str, ...] | None) -> str:
    shown = (names or ())[:8]
    return ", ".join(shown) + (", ..." if len(names or ()) > len(shown) else "")


def _check_range(stored: Stored, found: Survey, preprocessing: Preprocessing, binary: bool) -> None:
    if isinstance(preprocessing, AsFloat | Centre):
        low, high, whole = (0.0, 1.0, True) if binary else (-np.inf, np.inf, False)
    elif isinstance(preprocessing, Dequantize):
        low, high, whole = preprocessing.low, preprocessing.low + preprocessing.levels - 1, True
    else:
        low, high, whole = getattr(preprocessing, "low", 0), getattr(preprocessing, "high", 1), False
    if not (low <= found.low and found.high <= high and (found.whole or not whole)):
        raise InputError(
            f"Expected {'whole numbers' if whole else 'values'} from {low:g} to {high:g} in {stored.name}, as the run "
            f"was trained on ({preprocessing.description}); got {'' if found.whole else 'fractions '}"
            f"{found.low:g} to {found.high:g}. Bring them to the same unit."
        )


def _check_unit(split: Split, dataset: DataSet) -> None:
    """Raise where a typical row lies so far out that it can only be measured in another unit."""
    mean, std = dataset.statistics()
    typical = std.square().mean().sqrt().clamp_min(torch.finfo(torch.float32).tiny)
    distance = torch.cat([((x - mean).square().mean(1).sqrt() / typical) for x in split.blocks()]).median()
    check(
        bool(distance <= FARTHEST),
        f"Expected rows in the unit of {dataset.name}, which the run was trained on; half of those in {split.name} lie "
        f"more than {distance:.0f} of its standard deviations from its mean. Bring them to the same unit.",
    )
