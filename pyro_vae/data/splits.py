"""Training, validation and test rows, with their labels and context."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyro_vae._checks import InputError, check, check_integer
from pyro_vae.data.augmentation import HorizontalFlip
from pyro_vae.data.batch_order import Batches, uniform_noise
from pyro_vae.data.columns import Column
from pyro_vae.data.contexts import Context, EntryContext
from pyro_vae.data.fixed_draws import DATA_SEED, draw_splits, fixed_noise
from pyro_vae.data.image_options import AS_THEY_ARE, ImageOptions
from pyro_vae.data.preprocessing import Dequantize, IntegerLevels, Preprocessing
from pyro_vae.data.stored import MappedRows, Rows, chunks
from pyro_vae.data.table_options import TableOptions
from pyro_vae.evenly_spaced import evenly_spaced_rows
from pyro_vae.processes import SINGLE_PROCESS, Processes

# The last three stood here in version 0.1.0.
__all__ = ["DataSet", "Split", "DATA_SEED", "draw_splits", "fixed_noise"]  # noqa: RUF022


@dataclass(frozen=True, eq=False)
class Split:
    """The rows of one split as stored, and how they become x.

    Attributes:
        name: "train", "validation" or "test".
        rows: The rows of the whole stored data.
        index: Which of them belong to the split, int64 (N,).
        preprocessing: How they become x.
        labels: Their classes, int64 (N,), or None.
        context: What model and guide are conditioned on beside x, tensors (N, ...); see `with_context`.
        augmentation: How the rows of `batches` are changed at random; those of `blocks` never are.
        divided: Which entries of a prepared row are context, so that the others are x; `context` holds them under the
            fixed draw, and batches have those of their own draw.
        given: What x is conditioned on, in words.
        visits: Numbers of the rows that an epoch of `batches` goes through, int64 (M,); each once where None.
    """

    name: str
    rows: Rows
    index: NDArray[np.int64]
    preprocessing: Preprocessing
    labels: Tensor | None = None
    context: tuple[Tensor, ...] = ()
    augmentation: HorizontalFlip | None = None
    divided: EntryContext | None = None
    given: str = ""
    visits: Tensor | None = None

    def __len__(self) -> int:
        return len(self.index)

    @property
    def data_dim(self) -> int:
        """D, the number of entries of a row of x."""
        return self.rows.data_dim - (self.divided.dim if self.divided else 0)

    @property
    def description(self) -> str:
        """How stored rows become x, in words, and what is done to those of training."""
        augmented = self.augmentation.description if self.augmentation else ""
        return ", ".join(filter(None, [self.preprocessing.description, augmented, self.given]))

    def select(self, chosen: slice | NDArray[np.int64]) -> Split:
        """Return some of the split's rows, with their labels and context.

        Args:
            chosen: Numbers of rows of the split, counted from 0, or a slice of them.
        """
        rows = chosen if isinstance(chosen, slice) else torch.from_numpy(np.asarray(chosen, np.int64))
        return replace(
            self,
            index=self.index[chosen],
            labels=None if self.labels is None else self.labels[rows],
            context=tuple(part[rows] for part in self.context),
            visits=None,
        )

    def head(self, num_rows: int) -> Split:
        """Return the split's first `num_rows` rows, or all of them where it has fewer."""
        return self.select(slice(check_integer(num_rows, "num_rows")))

    def evenly_spaced(self, num_rows: int) -> Split:
        """Return `num_rows` rows from all over the split, or all of them where it has fewer."""
        return self.select(evenly_spaced_rows(len(self), num_rows))

    def share(self, processes: Processes) -> Split:
        """Return the rows that are a process's own."""
        return self.select(processes.share(len(self)))

    def with_context(self, *context: Tensor) -> Split:
        """Return the split with context: it then yields `(x, *context)` wherever it is iterated.

        Args:
            context: Tensors with one entry for each row, (N, ...).

        Raises:
            InputError: If one has another number of rows.
        """
        for number, part in enumerate(context):
            check(
                part.ndim > 0 and len(part) == len(self),
                f"Expected context {number + 1} with one entry for each of the {len(self)} {self.name} rows; got shape "
                f"{tuple(part.shape)}.",
            )
        return replace(self, context=context)

    def with_labels_as_context(self) -> Split:
        """Return the split with its labels, int64 (N,), as context.

        Raises:
            InputError: If it has no labels.
        """
        if self.labels is None:
            raise InputError(
                f"Expected {self.name} rows with labels; got none. Give context by `with_context`."
            )
        return self.with_context(self.labels)

    def batches(
        self,
        batch_size: int,
        *,
        seed: int,
        device: torch.device | str = "cpu",
        processes: Processes = SINGLE_PROCESS,
    ) -> Batches:
        """Return the batches that training iterates, reshuffled, with noise and augmentation redrawn, each epoch.

        Args:
            batch_size: Rows in a batch, of all processes together.
            seed: The run's seed; order and noise are a function of (seed, epoch, step).
            device: Where the rows (unless memory-mapped) and the batches lie.
            processes: Those that share every batch.
        """
        rows, preprocessing = self.rows.to(device), self.preprocessing
        mapped = isinstance(rows, MappedRows)
        index = torch.from_numpy(self.index).to("cpu" if mapped else device)
        context = tuple(part.to(device) for part in self.context)

        def augmented(x: Tensor, generator: torch.Generator) -> Tensor:
            return x if self.augmentation is None else self.augmentation(x, generator)

        def drawn(chosen: Tensor, generator: torch.Generator) -> Tensor:
            taken = augmented(rows.take(index[chosen]), generator)
            noise = uniform_noise(taken.shape, generator) if preprocessing.random else None
            return preprocessing(taken, noise)

        def fixed(chosen: Tensor, generator: torch.Generator) -> Tensor:
            return augmented(self._whole(self.index[chosen.numpy()]).to(device), generator)

        def binary(chosen: Tensor, generator: torch.Generator) -> Tensor:
            return augmented(kept[chosen], generator).float()

        fetch = fixed if mapped else binary
        if preprocessing.redrawn or not preprocessing.random:
            fetch = drawn
        elif not mapped:
            kept = torch.cat(
                [x.to(torch.uint8) for x, *_ in replace(self, divided=None).blocks(device=device)]
            )

        divide = None
        if self.divided is not None:
            divide = self.divided.divider(self.rows.data_dim, torch.empty(0, device=device))

        def with_context(chosen: Tensor, generator: torch.Generator) -> tuple[Tensor, ...]:
            x = fetch(chosen, generator)
            if divide is not None:
                return divide(x)[: 1 + len(context)]
            return x, *(part[chosen.to(device)] for part in context)

        visits = torch.arange(len(self)) if self.visits is None else self.visits
        return Batches(
            with_context,
            visits.to(index.device),
            batch_size,
            seed,
            device,
            processes,
        )

    def blocks(self, size: int = 1000, device: torch.device | str = "cpu") -> Iterator[tuple[Tensor, ...]]:
        """Yield `(x, *context)` in order, x under the fixed draw, float32 blocks of shape (at most `size`, D)."""
        check_integer(size, "size")
        for start in range(0, len(self), size):
            block = slice(start, start + size)
            x = self._fixed(self.index[block]).to(device)
            yield x, *(part[block].to(device) for part in self.context)

    def tensor(self) -> Tensor:
        """Return all of x under the fixed draw, without context, float32 (N, D)."""
        return torch.cat([x for x, *_ in self.blocks()])

    def tensors(self) -> tuple[Tensor, ...]:
        """Return all rows `(x, *context)`, x under the fixed draw."""
        return self.tensor(), *self.context

    def _fixed(self, index: NDArray[np.int64]) -> Tensor:
        rows = self._whole(index)
        return rows if self.divided is None else rows[:, list(self.divided.rest(rows.shape[1]))]

    def _whole(self, index: NDArray[np.int64]) -> Tensor:
        """Return rows under the fixed draw, with the entries that are context, in their place."""
        noise = fixed_noise(index, self.rows.data_dim) if self.preprocessing.random else None
        return self.preprocessing(self.rows.take(torch.from_numpy(index)), noise)

    @cached_property
    def stored_moments(self) -> tuple[Tensor, Tensor]:
        """Mean and variance (divided by N) of the stored rows, float64 (D,), in one pass over chunks.

        Where entries are missing (NaN) they are those of the observed ones; 0 for a column without any.

        Chunks are merged by Chan, Golub & LeVeque (1983), equation 2.1, counted from the first row, which keeps
        the digits of columns far from 0; a constant column has variance 0 to the bit.
        """
        data_dim = self.rows.data_dim
        first = self.rows.take(torch.from_numpy(self.index[:1])).double()
        mean, scatter = torch.zeros(2, data_dim, dtype=torch.float64)
        low, high = torch.tensor([[np.inf], [-np.inf]], dtype=torch.float64).expand(2, data_dim)
        for part in chunks(len(self), data_dim):
            block = self.rows.take(torch.from_numpy(self.index[part])).double() - first
            low, high = torch.minimum(low, block.amin(0)), torch.maximum(high, block.amax(0))
            block_mean, weight = block.mean(0), len(block) / part.stop
            apart = block_mean - mean
            scatter += (block - block_mean).square().sum(0) + apart.square() * weight * part.start
            mean += apart * weight
        if mean.isnan().any():
            return self._observed_moments()
        variance = torch.where(low == high, 0.0, scatter / len(self))
        return first[0] + torch.where(low == high, 0.0, mean), variance

    def _observed_moments(self) -> tuple[Tensor, Tensor]:
        rows = self.rows.take(torch.from_numpy(self.index)).double()
        mean = rows.nanmean(0)
        variance = (rows - mean).square().nanmean(0)
        return mean.nan_to_num(0.0), variance.nan_to_num(0.0)


@dataclass(frozen=True, eq=False)
class DataSet:
    """Three splits of one data set, and what is known about it.

    Attributes:
        name: The name or path it was asked for by.
        train: Rows to learn from.
        validation: Rows to stop by.
        test: Rows to report on.
        data_shape: Shape of one row: (D,), (height, width), or (channels, height, width).
        preprocessing: How stored rows become x.
        class_names: Names of classes 0, 1, ..., or None.
        column_names: Names of the D columns, or None.
        sha256: Of the stored data: shape, type and bytes of the array, labels and given splits.
        notes: Sentences on what was found.
        image_options: How files became images.
        context: What the context of the splits is; None where they have none, or one of a user's own.
        whole: The data set before entries of its rows became context; None where none did.
        columns: Kinds and levels of the D columns of a table; None where they were not determined.
        table_options: How a file became that table, or None.
        kinds: The columns of that table and those left out, as lines of text.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    data_shape: tuple[int, ...]
    preprocessing: Preprocessing
    class_names: tuple[str, ...] | None
    column_names: tuple[str, ...] | None
    sha256: str
    notes: tuple[str, ...]
    image_options: ImageOptions = AS_THEY_ARE
    context: Context | None = None
    whole: DataSet | None = None
    columns: tuple[Column, ...] | None = None
    table_options: TableOptions | None = None
    kinds: tuple[str, ...] = ()

    @property
    def data_dim(self) -> int:
        """D, the number of entries of a row."""
        return self.train.data_dim

    @property
    def description(self) -> str:
        """How stored rows become x, in words, and what is done to those of training."""
        return self.train.description

    @property
    def is_image(self) -> bool:
        """Whether a row is a grey (height, width) or (1, height, width) or coloured (3 or 4, height, width) image."""
        return len(self.data_shape) == 2 or (len(self.data_shape) == 3 and self.data_shape[0] in (1, 3, 4))

    @property
    def is_conditional(self) -> bool:
        """Whether every row has context, so that numbers are of p(x | context)."""
        return self.context is not None and not getattr(self.context, "partial", False)

    def with_splits(self, changed: Callable[[Split], Split], **changes: Any) -> DataSet:
        """Return the data set with each split changed alike.

        Args:
            changed: From a split to another one.
            changes: Further attributes by name.
        """
        train, validation, test = (changed(split) for split in (self.train, self.validation, self.test))
        return replace(self, train=train, validation=validation, test=test, **changes)

    def as_density(self) -> DataSet:
        """Return the data set for models that give x a density: integers without noise become dequantized ones."""
        known = self.preprocessing
        if not isinstance(known, IntegerLevels):
            return self
        noisy = Dequantize(known.levels, known.low)
        return self.with_splits(lambda split: replace(split, preprocessing=noisy), preprocessing=noisy)

    def statistics(self) -> tuple[Tensor, Tensor]:
        """Return mean and standard deviation of x over the training split, float64 (D,) each.

        They are those of the stored rows carried over in closed form, in expectation over noise and augmentation:
        exact for dequantized integers, the Bernoulli moments of the grey values for binarized ones.
        """
        mean, variance = self.train.stored_moments
        if self.train.augmentation is not None:
            mean, variance = self.train.augmentation.moments(mean, variance)
        mean, variance = self.preprocessing.moments(mean, variance)
        if self.train.divided is not None:
            rest = list(self.train.divided.rest(len(mean)))
            mean, variance = mean[rest], variance[rest]
        return mean, variance.sqrt()
