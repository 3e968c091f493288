"""Conversion of data for `fit`: shuffled training batches, and blocks of rows in order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

from pyro_vae._checks import InputError, check, check_integer
from pyro_vae.data.as_tensor import as_matrix, as_tensor, check_digits, check_finite
from pyro_vae.data.batch_order import Batches, iterate, permutation
from pyro_vae.data.containers import BLOCK, in_order, length, whole
from pyro_vae.data.entry import Entry
from pyro_vae.data.splits import Split
from pyro_vae.processes import SINGLE_PROCESS, Processes

__all__ = ["TrainingBatches", "as_blocks", "as_training_batches"]

CACHED_BYTES = 2**29
"""Evaluation data up to this size is kept on the device between epochs; larger data streams again."""


class TrainingBatches(Protocol):
    """Training batches: tuples of tensors, in an order that depends only on the epoch."""

    num_examples: int

    def __len__(self) -> int:
        """Number of batches per epoch."""

    def epoch(self, epoch: int, start: int = 0) -> Iterator[tuple[Tensor, ...]]:
        """Yield the batches of an epoch from number `start` on."""


class _IteratedBatches:
    """A `DataLoader`, which may shuffle by (seed, epoch), or a list of batches."""

    def __init__(
        self, batches: Any, num_examples: int, seed: int, entry: Entry, device: torch.device
    ) -> None:
        self.batches, self.num_examples, self.seed = batches, num_examples, seed
        self.entry, self.device = entry, device

    def __len__(self) -> int:
        return len(self.batches)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[tuple[Tensor, ...]]:
        for number, batch in enumerate(iterate(self.batches, self.seed, epoch)):
            if number >= start:
                yield _on(self.device, self.entry.batch(batch))


class _DatasetBatches:
    """A map-style `Dataset` as training batches, in the same order as rows of an array."""

    def __init__(
        self, dataset: Dataset[Any], batch_size: int, seed: int, entry: Entry, device: torch.device
    ) -> None:
        self.dataset, self.batch_size, self.seed = dataset, batch_size, seed
        self.entry, self.device = entry, device
        self.num_examples = length(dataset)

    def __len__(self) -> int:
        return -(-self.num_examples // self.batch_size)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[tuple[Tensor, ...]]:
        order = permutation(self.num_examples, self.seed, epoch).split(self.batch_size)
        loader = DataLoader(self.dataset, batch_sampler=[rows.tolist() for rows in order[start:]])
        for batch in iterate(loader, self.seed, epoch):
            yield _on(self.device, self.entry.batch(batch))


def as_training_batches(
    data: Any,
    batch_size: int,
    seed: int = 0,
    device: torch.device | str = "cpu",
    processes: Processes = SINGLE_PROCESS,
    entry: Entry | None = None,
    *,
    missing: bool = False,
) -> TrainingBatches:
    """Return data as training batches.

    Args:
        data: A `Split`; rows at once: an array, a tensor, a list of rows, a DataFrame, or a tuple of rows and context;
            a map-style `Dataset`; batches that keep their own size and order: a `DataLoader` or a list of tuples; or an
            object with `epoch`, which is returned as it is.
        batch_size: Rows per batch.
        seed: Seed of the order of the rows and of the noise of their preprocessing.
        device: Device of the returned tensors.
        processes: Processes that share every batch.
        entry: Inputs of the programs; any number by default.
        missing: Whether rows may hold NaN.

    Raises:
        InputError: If the data is of another kind or shape, empty, or not finite, or cannot be shared.
    """
    check_integer(batch_size, "batch_size")
    device, entry = torch.device(device), entry or Entry()
    if isinstance(data, Split):
        return _with_accepted_context(data, entry).batches(
            batch_size, seed=seed, device=device, processes=processes
        )
    parts = whole(data)
    if parts is not None:
        tensors = _checked_rows(parts, entry, device, missing)
        return Batches(
            lambda rows, _: tuple(part.index_select(0, rows) for part in tensors),
            torch.arange(len(tensors[0]), device=device),
            batch_size,
            seed,
            device,
            processes,
        )
    _check_alone(data, processes)
    if isinstance(data, DataLoader):
        return _IteratedBatches(data, _rows_of_loader(data), seed, entry, device)
    if isinstance(data, Dataset):
        return _DatasetBatches(data, batch_size, seed, entry, device)
    if isinstance(data, list):
        check(bool(data), "Expected at least one row of data; got none.")
        return _IteratedBatches(data, sum(len(entry.batch(one)[0]) for one in data), seed, entry, device)
    if hasattr(data, "epoch"):
        batches: TrainingBatches = data
        return batches
    in_order(data)  # raises for types that are not supported at all
    raise InputError(
        f"Expected training data that can be read in every epoch; got {type(data).__name__}, which can be read once. "
        "Give a list of its batches."
    )


def as_blocks(
    data: Any,
    device: torch.device | str = "cpu",
    size: int = BLOCK,
    processes: Processes = SINGLE_PROCESS,
    entry: Entry | None = None,
    *,
    missing: bool = False,
) -> Iterable[Sequence[Tensor]]:
    """Return the rows in order, as tuples of tensors on the device; the result can be iterated repeatedly.

    Each process gets its share of the rows.

    Args:
        data: Rows in any container that `as_training_batches` takes; a `Split` under its fixed draw.
        device: Device of the returned tensors.
        size: Rows per block.
        processes: Processes that share the rows.
        entry: Inputs of the programs; any number by default.
        missing: Whether rows may hold NaN.

    Raises:
        InputError: If the data is of another kind or shape, empty, or not finite, or cannot be shared.
    """
    device, entry = torch.device(device), entry or Entry()
    if isinstance(data, Split):
        processes.check_rows(len(data))
        data = _with_accepted_context(data, entry).share(processes)
        streamed = _Blocks(data, size, device)
        return list(streamed) if 4 * len(data) * data.data_dim <= CACHED_BYTES else streamed
    parts = whole(data)
    if parts is not None:
        tensors = _checked_rows(parts, entry, device, missing)
        processes.check_rows(len(tensors[0]))
        own = [part[processes.share(len(tensors[0]))] for part in tensors]
        return list(zip(*(part.split(size) for part in own), strict=True))
    _check_alone(data, processes)
    if isinstance(data, Iterator):
        return [_on(device, block) for block in entry.blocks(data, size)]
    in_order(data)
    return _Reread(data, size, device, entry)


class _Blocks:
    def __init__(self, split: Split, size: int, device: torch.device) -> None:
        self.split, self.size, self.device = split, size, device

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        return self.split.blocks(self.size, self.device)


class _Reread:
    def __init__(self, data: Any, size: int, device: torch.device, entry: Entry) -> None:
        self.data, self.size, self.device, self.entry = data, size, device, entry

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        return (_on(self.device, block) for block in self.entry.blocks(self.data, self.size))


def _checked_rows(
    parts: tuple[Any, ...], entry: Entry, device: torch.device, missing: bool
) -> tuple[Tensor, ...]:
    """Return rows and context on the device; raise `InputError` if they are invalid."""
    stored = as_tensor(parts[0])
    x, _ = as_matrix(stored)
    check_digits(x, entry.dtype or (x.dtype if x.is_floating_point() else torch.get_default_dtype()))
    check_finite(x, missing=missing)
    return _on(device, entry.batch((stored, *parts[1:])))


def _with_accepted_context(split: Split, entry: Entry) -> Split:
    """Return a split with as many context tensors as the programs take."""
    _, *context = entry.taken((split, *split.context))
    return split.with_context(*entry.context(tuple(context), len(split)))


def _on(device: torch.device, parts: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(part.to(device) for part in parts)


def _check_alone(data: Any, processes: Processes) -> None:
    check(
        processes.count == 1,
        "Expected an array, a tensor or a Split to be shared among several processes; got "
        f"{type(data).__name__}, whose order is its own. Give its rows as an array.",
    )


def _rows_of_loader(loader: DataLoader[Any]) -> int:
    """Return the number of rows an epoch of a loader has; raise `InputError` if it has none."""
    check(
        not isinstance(loader.dataset, IterableDataset),
        "Expected a DataLoader over a Dataset with a length; got one over an iterable. Give it `__len__` and "
        "`__getitem__`.",
    )
    count = length(loader.dataset)
    check(
        len(loader) > 0,
        f"Expected a DataLoader with at least one batch; the {count} rows make less than one batch of "
        f"{loader.batch_size} and drop_last leaves it out. Set drop_last=False or a smaller batch_size.",
    )
    size = loader.batch_size
    return len(loader) * size if loader.drop_last and size else length(loader.sampler) if size else count
