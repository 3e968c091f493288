"""Training batches that are joined to the rows of one step."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import torch
from torch import Tensor

from pyro_vae.data.adapters import TrainingBatches
from pyro_vae.data.batch_order import Batches

__all__ = ["joined"]


def joined(batches: TrainingBatches, count: int) -> tuple[TrainingBatches, int]:
    """Return `count` consecutive batches as one, and the rows of a single one in this process.

    Order and noise are those of one batch of `count` times the size, to the bit; batches with an order of their own, as
    of a `DataLoader`, are concatenated. The last joined batch of an epoch has the remaining rows.
    """
    if isinstance(batches, Batches):
        return batches.of_size(count * batches.batch_size), -(-batches.batch_size // batches.processes.count)
    (first, *_) = next(iter(batches.epoch(0)))
    return _JoinedBatches(batches, count), len(first)


class _JoinedBatches:
    """Every `count` consecutive batches, concatenated."""

    def __init__(self, batches: TrainingBatches, count: int) -> None:
        self.batches, self.count = batches, count
        self.num_examples = batches.num_examples

    def __len__(self) -> int:
        return -(-len(self.batches) // self.count)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[tuple[Tensor, ...]]:
        single = iter(self.batches.epoch(epoch, start=start * self.count))
        while group := list(islice(single, self.count)):
            yield tuple(torch.cat(column) for column in zip(*group, strict=True))
