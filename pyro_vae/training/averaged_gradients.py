"""Gradients of several processes, averaged over the rows of all of them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from pyro_vae._layout import laid_out_as
from pyro_vae.compiled import Evaluation, Gradients
from pyro_vae.processes import Processes

__all__ = ["AveragedGradients"]


class AveragedGradients:
    """Loss and gradients of a batch that several processes share, by one sum over the network.

    Each process gives the gradient of its own rows times their share of all, flattened into one vector with what else
    all have to know; the sum is the gradient of the whole batch's mean loss. (An objective that is no mean over rows,
    as one with free bits, is that of the shares.) Memory is passed over as seldom as can be: that, and the network, is
    what a step on a share costs besides its products.

    Args:
        own: Gives loss and gradients of this process's rows.
        processes: Those that share the batch.
        num_rows: Gives the number of the batch's rows in all processes.

    Attributes:
        wants_to_stop: Set where this process wants training to end.
        stopping: 1 or more where any process wanted so in the last call, else 0; scalar.
    """

    def __init__(self, own: Gradients, processes: Processes, num_rows: Callable[[], int]) -> None:
        self.own = own
        self.processes = processes
        self.num_rows = num_rows
        self.wants_to_stop = False
        self.stopping = torch.zeros(())
        self._vector: Tensor | None = None

    @property
    def note(self) -> str:
        """As for `Gradients`, of this process."""
        return self.own.note

    @property
    def seconds(self) -> float:
        """As for `Gradients`, of this process."""
        return self.own.seconds

    def __call__(self, *data: Tensor, progress: Tensor, unchanged: bool = False) -> Evaluation:
        """Return the parts of this process's rows, and loss, sums, norm and gradients of all rows.

        The gradients lie in memory that the next call writes anew: fresh pages for megabytes take as long as a sum.

        Args:
            data: This process's share of the batch.
            progress: Share of training that is done, a scalar in [0, 1].
            unchanged: As for `Gradients`.
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
