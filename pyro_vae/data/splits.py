"""`Split`: rows of a data set, with their labels and context."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyro_vae._checks import InputError, check, check_integer
from pyro_vae.data.augmentation import HorizontalFlip
from pyro_vae.data.batch_order import Batches, uniform_noise
from pyro_vae.data.contexts import EntryContext
from pyro_vae.data.fixed_draws import fixed_noise
from pyro_vae.data.preprocessing import Preprocessing
from pyro_vae.data.row_tensors import MappedRows, Rows
from pyro_vae.data.stored import chunks
from pyro_vae.evenly_spaced import evenly_spaced_rows
from pyro_vae.processes import SINGLE_PROCESS, Processes

__all__ = ["Split"]


@dataclass(frozen=True, eq=False)
class Split:
    """The rows of one split as stored, and their conversion to x.

    Attributes:
        name: "train", "validation" or "test".
        rows: The rows of the whole stored data.
        index: Indices of the rows of the split, int64 (N,).
        preprocessing: Map from stored rows to x.
        labels: Their classes, int64 (N,), or None.
        context: Tensors (N, ...) that model and guide are conditioned on in addition to x; see `with_context`.
        augmentation: Random change of the rows of `batches`; the rows of `blocks` are not changed.
        divided: Entries of a prepared row that are context; the others are x. `context` holds them under the fixed
            draw, and batches have those of their own draw.
        given: Description of the context in words.
        visits: Row numbers of an epoch of `batches`, int64 (M,); each row once if None.
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
        """Preprocessing, augmentation and context in words."""
        augmented = self.augmentation.description if self.augmentation else ""
        return ", ".join(filter(None, [self.preprocessing.description, augmented, self.given]))

    def select(self, chosen: slice | NDArray[np.int64]) -> Split:
        """Return some of the split's rows, with their labels and context.

        Args:
            chosen: Indices of rows within the split, or a slice.
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
        """Return the first `num_rows` rows of the split, or all if there are fewer."""
        return self.select(slice(check_integer(num_rows, "num_rows")))

    def evenly_spaced(self, num_rows: int) -> Split:
        """Return `num_rows` evenly spaced rows of the split, or all if there are fewer."""
        return self.select(evenly_spaced_rows(len(self), num_rows))

    def share(self, processes: Processes) -> Split:
        """Return this process's share of the rows."""
        return self.select(processes.share(len(self)))

    def with_context(self, *context: Tensor) -> Split:
        """Return the split with context: iteration then yields `(x, *context)`.

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
        """Return the training batches; order, noise and augmentation are drawn again in every epoch.

        Args:
            batch_size: Rows in a batch, of all processes together.
            seed: The run's seed; order and noise are a function of (seed, epoch, step).
            device: Device of the rows (unless memory-mapped) and of the batches.
            processes: Processes that share every batch.
        """
        rows = self.rows.to(device)
        index = torch.from_numpy(self.index).to("cpu" if isinstance(rows, MappedRows) else device)
        context = tuple(part.to(device) for part in self.context)
        fetch = self._fetch(rows, index, device)
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

    def _fetch(
        self, rows: Rows, index: Tensor, device: torch.device | str
    ) -> Callable[[Tensor, torch.Generator], Tensor]:
        """Return the function that gives chosen rows x, with noise and augmentation by a generator."""
        preprocessing = self.preprocessing

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

        if preprocessing.redrawn or not preprocessing.random:
            return drawn
        if isinstance(rows, MappedRows):
            return fixed
        blocks = replace(self, divided=None).blocks(device=device)
        kept = torch.cat([x.to(torch.uint8) for x, *_ in blocks])
        return binary

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
        """Return complete rows under the fixed draw, including the entries that are context."""
        noise = fixed_noise(index, self.rows.data_dim) if self.preprocessing.random else None
        return self.preprocessing(self.rows.take(torch.from_numpy(index)), noise)

    @cached_property
    def stored_moments(self) -> tuple[Tensor, Tensor]:
        """Mean and variance (divided by N) of the stored rows, float64 (D,), in one pass over chunks.

        If entries are missing (NaN), they are those of the observed entries; 0 for a column without any.

        Chunks are merged by Chan, Golub & LeVeque (1983), equation 2.1, relative to the first row, which preserves the
        digits of columns far from 0; the variance of a constant column is exactly 0.
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
