"""Some entries of a row as context, and the others as x: columns of a table, quadrants of an image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from pyro_vae._checks import check
from pyro_vae.data.contexts import EntryContext
from pyro_vae.data.dataset import DataSet
from pyro_vae.data.splits import Split
from pyro_vae.data.stored import listed

__all__ = ["divide", "with_columns", "with_quadrants"]

QUADRANTS = {1: "the lower left quadrant", 2: "the left half", 3: "all but the lower right quadrant"}


def with_columns(dataset: DataSet, columns: Sequence[str]) -> DataSet:
    """Return a data set with some columns as context, standardized by the training rows, and the others as x.

    Args:
        dataset: A table.
        columns: Their names, or their numbers counted from 0 where they have no names.

    Raises:
        InputError: If the data set is not a table or lacks a column, or no column would be left as x.
    """
    check(
        len(dataset.data_shape) == 1,
        f"Expected a table for --context columns; got rows of shape {dataset.data_shape}. Take --context quadrants or "
        "label.",
    )
    check(
        len(columns) > 0,
        "Expected the names of the columns for --context columns; got none. Give --context-columns NAME ...",
    )
    names = dataset.column_names or tuple(map(str, range(dataset.data_dim)))
    unknown = [name for name in columns if name not in names]
    check(
        not unknown and len(set(columns)) == len(columns),
        f"Expected --context-columns among those of {dataset.name}, each once: {listed(names)}; got "
        f"{', '.join(columns)}.",
    )
    check(
        len(columns) < len(names),
        f"Expected --context-columns to leave a column to be x; got all {len(names)}. Leave one out.",
    )
    entries = tuple(sorted(map(names.index, columns)))
    mean, std = (part[list(entries)] for part in dataset.statistics())
    scale = torch.where(std > 0, std, torch.ones_like(std))
    name = listed(names[entry] for entry in entries)
    context = EntryContext(entries, tuple(mean.tolist()), tuple(scale.tolist()), name)
    rest = context.rest(len(names))
    kept = dataset.column_names and tuple(names[entry] for entry in rest)
    return _divided(dataset, context, kept)


def with_quadrants(dataset: DataSet, quadrants: int) -> DataSet:
    """Return a data set with one, two or three quadrants of each image as context, and its other pixels as x.

    The lower left quadrant, the left half, or all but the lower right quadrant, as in Pyro's tutorial on conditional
    variational autoencoders.

    Args:
        dataset: Images.
        quadrants: Number of quadrants.

    Raises:
        InputError: If the rows are not images.
    """
    check(
        dataset.is_image,
        f"Expected images for --context quadrants; got rows of shape {dataset.data_shape}. Take --context columns.",
    )
    height, width = dataset.data_shape[-2:]
    check(
        min(height, width) > 1,
        f"Expected images of at least 2 x 2 for --context quadrants; got {height} x {width}.",
    )
    given = np.zeros(dataset.data_shape, bool)
    if quadrants == 1:
        given[..., height // 2 :, : width // 2] = True
    elif quadrants == 2:
        given[..., :, : width // 2] = True
    else:
        given[:] = True
        given[..., height // 2 :, width // 2 :] = False
    entries = tuple(np.flatnonzero(given).tolist())
    context = EntryContext(entries, (0.0,) * len(entries), (1.0,) * len(entries), QUADRANTS[quadrants])
    return _divided(dataset, context, None)


def divide(split: Split, context: EntryContext) -> Split:
    """Return a split that yields some entries of its rows as context and the others as x, both of the same draw."""
    both = context.divider(split.data_dim, torch.empty(0))
    given = torch.cat([both(rows)[1] for rows, *_ in split.blocks()])
    return replace(split, divided=context, given=f"given {context.name}").with_context(given)


def _divided(dataset: DataSet, context: EntryContext, column_names: tuple[str, ...] | None) -> DataSet:
    shape = (math.prod(dataset.data_shape) - context.dim,)
    return dataset.with_splits(
        lambda split: divide(split, context),
        data_shape=shape,
        column_names=column_names,
        context=context,
        whole=dataset,
    )
