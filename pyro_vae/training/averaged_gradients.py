"""Gradients of several processes, averaged over the rows of all of them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from pyro_vae._layout import laid_out_as
from pyro_vae.compiled import Evaluation, Gradients
from pyro_vae.processes import Processes
from pyro_vae.training.accumulated_gradients import AccumulatedGradients

__all__ = ["AveragedGradients"]


class AveragedGradients:
    """Loss and gradients of a batch that several processes share, by one all-reduce.

    Each process contributes the gradient of its rows times their fraction of the batch, flattened into one vector with
    all other shared numbers; the sum is the gradient of the mean loss of the batch. An objective that is not a mean
    over rows, such as one with free bits, is evaluated per process. Passes over memory are minimized, since they and
    the communication are the overhead of a step.

    Args:
        own: Loss and gradients of this process's rows.
        processes: The processes that share the batch.
        num_rows: Function that returns the number of rows of the batch in all processes.

    Attributes:
        wants_to_stop: Whether this process requests the end of training.
        stopping: Number of processes that requested the end in the last call, scalar.
    """

    def __init__(
        self, own: Gradients | AccumulatedGradients, processes: Processes, num_rows: Callable[[], int]
    ) -> None:
        self.own = own
        self.processes = processes
        self.num_rows = num_rows
        self.wants_to_stop = False
        self.stopping = torch.zeros(())
        self._vector: Tensor | None = None

    @property
    def note(self) -> str:
        """As for `Gradients`, for this process."""
        return self.own.note

    @property
    def seconds(self) -> float:
        """As for `Gradients`, for this process."""
        return self.own.seconds

    def parts(self, data: tuple[Tensor, ...]) -> list[tuple[Tensor, ...]]:
        """As for `Gradients`, of this process's rows."""
        return self.own.parts(data)

    def __call__(self, *data: Tensor, progress: Tensor, unchanged: bool = False) -> Evaluation:
        """Return the parts of this process's rows, and loss, sums, norm and gradients of all rows.

        The next call overwrites the memory of the gradients: allocating new pages would take as long as the sum.

        Args:
            data: This process's part of the batch.
            progress: Fraction of training done, a scalar in [0, 1].
            unchanged: Whether the programs are known to be unchanged since the last call (see `Gradients`).
        """
        own = self.own(*data, progress=progress, unchanged=unchanged)
        weight = len(own.terms.kl) / self.num_rows()
        facts = (own.failed, float(self.wants_to_stop), *own.sums)
        present = [g for g in own.gradients if g is not None]
        sizes = [g.numel() for g in present]
        if self._vector is None or len(self._vector) != sum(sizes) + len(facts):
            self._vector = own.norm.new_empty(sum(sizes) + len(facts))
        packed = self._vector.split([*sizes, *(1 for _ in facts)])
        for part, gradient in zip(packed, present, strict=False):
            torch.mul(gradient.flatten(), weight, out=part)
        for place, fact in zip(packed[len(present) :], facts, strict=True):
            place.copy_(fact) if isinstance(fact, Tensor) else place.fill_(fact)
        total = self.processes.sum(self._vector)
        failed, self.stopping, *sums = total[sum(sizes) :]
        flat = total[: sum(sizes)]
        norm = torch.linalg.vector_norm(flat)
        parts = iter(flat.split(sizes))
        return Evaluation(
            own.terms._replace(loss=sums[0] / self.num_rows()),
            torch.stack(sums).double(),
            norm,
            torch.maximum((failed > 0).float(), 1 - torch.isfinite(norm).float()),
            tuple(None if g is None else laid_out_as(next(parts).view_as(g), g) for g in own.gradients),
        )
