"""Containers of rows: access to all rows at once, and reading of batches in order."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    TensorDataset,
)

from pyro_vae._checks import InputError, check
from pyro_vae.data.as_tensor import is_array
from pyro_vae.data.dataset import DataSet
from pyro_vae.data.splits import Split

__all__ = ["BLOCK", "described", "in_order", "length", "whole"]

BLOCK = 1000
"""Rows that are read, and that programs are run on, at once."""
ACCEPTED = (
    "an array, a tensor, a list of rows, a DataFrame, a tuple (x, *context), a Split, a Dataset, a DataLoader or "
    "batches of tuples"
)


def whole(data: Any) -> tuple[Any, ...] | None:
    """Return `(x, *context)` if the data holds all its rows at once; None if it comes in batches."""
    if isinstance(data, tuple):
        check(bool(data), "Expected a tuple (x, *context); got an empty one.")
        return data
    if isinstance(data, TensorDataset):
        return data.tensors
    return (data,) if is_array(data) or (isinstance(data, list) and not _of_batches(data)) else None


def in_order(data: Any) -> Iterable[Any]:
    """Return batches of the rows of `data` in their order.

    A `DataLoader` that shuffles or drops its last batch is read completely and in the order of its data set, because
    scores are per row. A loader with any other sampler is read as it is.

    Args:
        data: A `Split` under its fixed draw, a `Dataset`, a `DataLoader`, a list of batches that are tuples, or another
            iterable of batches.

    Raises:
        InputError: If the data is of another kind.
    """
    if isinstance(data, Split):
        return data.blocks(BLOCK)
    if isinstance(data, DataLoader):
        return _in_order_of_its_data(data)
    if isinstance(data, Dataset):
        if not isinstance(data, IterableDataset):
            length(data)
        return DataLoader(data, batch_size=BLOCK)
    check(
        not isinstance(data, DataSet),
        "Expected rows; got a DataSet of three splits. Give one of them, such as data.test.",
    )
    check(
        isinstance(data, Iterable) and not isinstance(data, Mapping | str | bytes | os.PathLike | set),
        f"Expected data as {ACCEPTED}; got {described(data)}",
    )
    return data


def length(dataset: Any) -> int:
    """Return the number of rows of a map-style data set; raise `InputError` if it has none."""
    try:
        count = len(dataset)
    except TypeError:
        raise InputError(
            "Expected a Dataset with a length; got an iterable one. Give it `__len__` and `__getitem__`."
        ) from None
    check(count > 0, "Expected at least one row of data; got none.")
    return count


def _in_order_of_its_data(loader: DataLoader[Any]) -> DataLoader[Any]:
    batches = loader.batch_sampler
    if isinstance(loader.dataset, IterableDataset) or type(batches) is not BatchSampler:
        return loader
    sampler = batches.sampler
    shuffles = isinstance(sampler, RandomSampler) and not sampler.replacement
    if not (shuffles or isinstance(sampler, SequentialSampler)) or length(sampler) != length(loader.dataset):
        return loader
    return DataLoader(
        loader.dataset,
        batch_size=batches.batch_size,
        collate_fn=loader.collate_fn,
        num_workers=loader.num_workers,
    )


def _of_batches(data: list[Any]) -> bool:
    """Return whether a list holds batches, tuples of arrays, and not rows."""
    return bool(data) and all(
        isinstance(one, tuple | list) and any(is_array(part) and np.ndim(part) for part in one)
        for one in data
    )


def described(data: Any) -> str:
    """Describe data of an unsupported type, and how to convert it, for messages."""
    if isinstance(data, Mapping):
        keys = ", ".join(map(repr, list(data)[:5]))
        return f"a {type(data).__name__} with the keys {keys}. Give a tuple of its values, x first."
    if isinstance(data, str | os.PathLike):
        return f"the path {str(data)!r}. Read it first: load_dataset(path).test."
    return f"{type(data).__name__}. Convert it to one of these."
