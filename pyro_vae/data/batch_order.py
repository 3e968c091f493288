"""Mini-batches whose order and noise are a pure function of (seed, epoch, step)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pyro_vae._checks import check_integer
from pyro_vae.processes import SINGLE_PROCESS, Processes

__all__ = ["Batches", "iterate", "permutation", "uniform_noise"]

WORD = 4  # 16-bit noises in one 64-bit random word


class Batches:
    """The batches of a training split, reshuffled each epoch; the last partial one is kept.

    Order and noise depend on (seed, epoch, step) alone, so an epoch can be continued from any step without saved state,
    with bit-identical batches. Each process gets its share of every batch, with its own noise; a last batch with fewer
    rows than processes is dropped.

    Args:
        fetch: Function from row numbers (n,) and the generator of the noise to x (n, D), or to a tuple of x and
            context, on the device.
        index: The row numbers of the split, int64 (N,), on the device where `fetch` expects them.
        batch_size: Rows in a batch.
        seed: The run's seed.
        device: Device of the returned tensors.
        processes: Processes that share every batch.

    Attributes:
        num_examples: N, the number of rows in an epoch.
    """

    def __init__(
        self,
        fetch: Callable[[Tensor, torch.Generator], Tensor | tuple[Tensor, ...]],
        index: Tensor,
        batch_size: int,
        seed: int,
        device: torch.device | str = "cpu",
        processes: Processes = SINGLE_PROCESS,
    ) -> None:
        self.fetch = fetch
        self.index = index
        self.batch_size = check_integer(batch_size, "batch_size")
        self.processes = processes
        processes.check_rows(min(batch_size, len(index)))
        self.seed = check_integer(seed, "seed", 0)
        self.device = device
        self.num_examples = len(index)

    def __len__(self) -> int:
        whole, rest = divmod(self.num_examples, self.batch_size)
        return whole + (rest >= self.processes.count)

    def of_size(self, batch_size: int) -> Batches:
        """Return batches of another size of the same rows."""
        return Batches(self.fetch, self.index, batch_size, self.seed, self.device, self.processes)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[tuple[Tensor, ...]]:
        """Yield the batches `(x, *context)` of one epoch, x of shape (n, D), leaving out the first `start`."""
        order = self.index[permutation(self.num_examples, self.seed, epoch).to(self.index.device)]
        generator = torch.Generator(self.device)
        seeds = _seeds(self.seed, epoch, 1 + self.processes.rank, count=len(self))
        for step in range(start, len(self)):
            generator.manual_seed(seeds[step])
            rows = order[step * self.batch_size : (step + 1) * self.batch_size]
            fetched = self.fetch(rows[self.processes.share(len(rows))], generator)
            yield fetched if isinstance(fetched, tuple) else (fetched,)


def permutation(num_examples: int, seed: int, epoch: int) -> Tensor:
    """Return the order of the rows in an epoch, int64 (num_examples,): a function of (seed, epoch) alone."""
    generator = torch.Generator().manual_seed(*_seeds(seed, epoch, 0, count=1))
    return torch.randperm(num_examples, generator=generator)


def _seeds(*key: int, count: int) -> list[int]:
    # All seeds of an epoch at once: generating one takes as long as a batch. 32-bit words instead of `derive_seeds`
    # keep the order of the rows of earlier runs.
    return [int(word) for word in np.random.SeedSequence(key).generate_state(count)]


def iterate(batches: Iterable[Any], *key: int) -> Iterator[Any]:
    """Yield batches in an order that depends only on the key, (seed, epoch).

    A `DataLoader` draws its order from torch's random state at the start of an iteration. That state is restored, so
    that other noise does not depend on the container of the data.
    """
    with torch.random.fork_rng():
        torch.manual_seed(*_seeds(*key, count=1))
        iterator = iter(batches)
        first = next(iterator, None)
    if first is not None:
        yield first
        yield from iterator


def uniform_noise(shape: torch.Size, generator: torch.Generator) -> Tensor:
    """Draw u uniformly from the midpoints of the 2^16 equal cells of [0, 1), float32 of `shape`, on its device.

    Integers have about 8 bits and float32 has 24, so 16 bits are enough. Four values per random word cost less
    than half of `torch.rand`, the largest part of the cost of a batch.
    """
    count = math.prod(shape)
    words = torch.empty(-(-count // WORD), dtype=torch.int64, device=generator.device)
    bits = words.random_(-(2**63), None, generator=generator).view(torch.int16)
    return bits[:count].view(shape).float().add_(2**15 + 0.5).mul_(2.0**-16)
