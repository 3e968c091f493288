"""What `fit` accepts as data, made into batches: splits, arrays, tensors, `Dataset`s and `DataLoader`s."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from pyro_vae._checks import InputError, check, check_integer
from pyro_vae.data.preprocessing import AsFloat
from pyro_vae.data.splits import Split
from pyro_vae.data.stored import TensorRows
from pyro_vae.processes import ALONE, Processes

__all__ = ["TrainingBatches", "as_blocks", "as_training_batches"]

CACHED_BYTES = 2**29
"""Evaluation data up to this size is kept on the device between epochs; larger data streams again."""


class TrainingBatches(Protocol):
    """What training iterates: batches, tuples of tensors, in an order that depends on the epoch alone."""

    num_examples: int

    def __len__(self) -> int:
        """Batches an epoch."""

    def epoch(self, epoch: int, start: int = 0) -> Iterator[tuple[Tensor, ...]]:
        """Yield the batches of an epoch from number `start` on."""


class _LoaderBatches:
    """A `DataLoader` as training batches; its order is the loader's own business."""

    def __init__(self, loader: DataLoader[Any], device: torch.device) -> None:
        self.loader = loader
        self.device = device
        self.num_examples = _length(loader.dataset)

    def __len__(self) -> int:
        return len(self.loader)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[tuple[Tensor, ...]]:
        for number, batch in enumerate(self.loader):
            if number >= start:
                yield _as_tuple(batch, self.device)


class _DatasetBatches:
    """A map-style `Dataset` as training batches, reshuffled each epoch by (seed, epoch)."""

    def __init__(self, dataset: Dataset[Any], batch_size: int, seed: int, device: torch.device) -> None:
        self.dataset = dataset
        self.batch_size = batch_size
        self.seed = seed
        self.device = device
        self.num_examples = _length(dataset)

    def __len__(self) -> int:
        return -(-self.num_examples // self.batch_size)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[tuple[Tensor, ...]]:
        (state,) = np.random.SeedSequence((self.seed, epoch)).generate_state(1, np.uint64)
        generator = torch.Generator().manual_seed(int(state >> np.uint64(1)))
        order = torch.randperm(self.num_examples, generator=generator).split(self.batch_size)
        loader = DataLoader(self.dataset, batch_sampler=[rows.tolist() for rows in order[start:]])
        for batch in loader:
            yield _as_tuple(batch, self.device)


def as_training_batches(
    data: Any,
    batch_size: int,
    seed: int = 0,
    device: torch.device | str = "cpu",
    processes: Processes = ALONE,
) -> TrainingBatches:
    """Return what training iterates.

    Args:
        data: A `Split`, an array or tensor of shape (N, data_dim), a map-style `Dataset`, a `DataLoader` (which
            keeps its own batch size and order), or an object with `epoch`, which is returned as it is.
        batch_size: Rows a batch.
        seed: Of the order of the rows and of the noise of their preprocessing.
        device: Where batches are wanted.
        processes: Those that share every batch.

    Raises:
        InputError: If the data is of another kind or shape, empty, or not finite, or cannot be shared.
    """
    check_integer(batch_size, "batch_size")
    device = torch.device(device)
    check(
        processes.count == 1 or isinstance(data, np.ndarray | Tensor | Split),
        "Expected an array, a tensor or a Split to be shared among several processes; got "
        f"{type(data).__name__}, whose order is its own. Give its rows as an array.",
    )
    if isinstance(data, DataLoader):
        return _LoaderBatches(data, device)
    if isinstance(data, Split):
        return data.batches(batch_size, seed=seed, device=device, processes=processes)
    if isinstance(data, np.ndarray | Tensor):
        return rows_as_split(data).batches(batch_size, seed=seed, device=device, processes=processes)
    if isinstance(data, Dataset):
        return _DatasetBatches(data, batch_size, seed, device)
    if hasattr(data, "epoch"):
        batches: TrainingBatches = data
        return batches
    raise InputError(
        "Expected training data as an array, a tensor, a Split, a Dataset or a DataLoader; "
        f"got {type(data).__name__}."
    )


def as_blocks(
    data: Any, device: torch.device | str = "cpu", size: int = 1000, processes: Processes = ALONE
) -> Iterable[Sequence[Tensor]]:
    """Return the rows in order, as tuples of tensors on the device; it can be iterated again and again.

    Of several processes each gets its share of the rows.

    Args:
        data: A `Split` (under its fixed draw), an array or tensor of shape (N, data_dim), a map-style `Dataset`
            or a `DataLoader` that does not shuffle.
        device: Where blocks are wanted.
        size: Rows a block.
        processes: Those that share the rows.

    Raises:
        InputError: If the data is of another kind or shape, empty, or not finite, or cannot be shared.
    """
    device = torch.device(device)
    if isinstance(data, np.ndarray | Tensor):
        data = rows_as_split(data)
    if isinstance(data, Split):
        processes.check_rows(len(data))
        data = data.share(processes)
        streamed = _Blocks(data, size, device)
        return list(streamed) if 4 * len(data) * data.data_dim <= CACHED_BYTES else streamed
    check(
        processes.count == 1,
        "Expected an array, a tensor or a Split to be shared among several processes; got "
        f"{type(data).__name__}. Give its rows as an array.",
    )
    if isinstance(data, Dataset) and not isinstance(data, DataLoader):
        _length(data)
        data = DataLoader(data, batch_size=size)
    if isinstance(data, DataLoader):
        return _LoaderBlocks(data, device)
    raise InputError(
        f"Expected data as an array, a tensor, a Split, a Dataset or a DataLoader; got {type(data).__name__}."
    )


def rows_as_split(rows: np.ndarray | Tensor) -> Split:
    """Return plain rows, taken as they are, as a split; rows that are not finite are refused."""
    check(
        rows.ndim == 2,
        f"Expected rows of shape (N, data_dim); got {tuple(rows.shape)}. Flatten images first.",
    )
    check(len(rows) > 0, "Expected at least one row of data; got none.")
    values = torch.as_tensor(rows).detach().cpu().float()
    check(
        bool(torch.isfinite(values).all()),
        "Expected finite data; got NaN or infinity. Impute or drop those rows.",
    )
    return Split("data", TensorRows(values), np.arange(len(values)), AsFloat())


class _Blocks:
    def __init__(self, split: Split, size: int, device: torch.device) -> None:
        self.split, self.size, self.device = split, size, device

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        return ((block,) for block in self.split.blocks(self.size, self.device))


class _LoaderBlocks:
    def __init__(self, loader: DataLoader[Any], device: torch.device) -> None:
        self.loader, self.device = loader, device

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        return (_as_tuple(batch, self.device) for batch in self.loader)


def _as_tuple(batch: Any, device: torch.device) -> tuple[Tensor, ...]:
    parts = batch if isinstance(batch, tuple | list) else (batch,)
    return tuple(torch.as_tensor(part).to(device) for part in parts)


def _length(dataset: Any) -> int:
    try:
        length = len(dataset)
    except TypeError:
        raise InputError(
            "Expected a Dataset with a length; got an iterable one. Give it `__len__` and `__getitem__`."
        ) from None
    check(length > 0, "Expected at least one row of data; got none.")
    return length
