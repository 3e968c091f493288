"""Gradients of several processes, averaged over the rows of all of them."""

from __future__ import annotations

import torch
from torch import Tensor

from pyro_vae.compiled import Evaluation, Gradients
from pyro_vae.processes import Processes

__all__ = ["AveragedGradients"]


class AveragedGradients:
    """Loss and gradients of a batch that several processes share, by one sum over the network.

    Each process gives the gradient of its own rows times their number, flattened into one vector with what else all
    have to know; the sum, divided by the number of all rows, is the gradient of the whole batch's mean loss. (An
    objective that is no mean over rows, as one with free bits, is that of the shares.)

    Args:
        own: Gives loss and gradients of this process's rows.
        processes: Those that share the batch.

    Attributes:
        wants_to_stop: Set where this process wants training to end.
        stopping: 1 or more where any process wanted so in the last call, else 0; scalar.
    """

    def __init__(self, own: Gradients, processes: Processes) -> None:
        self.own = own
        self.processes = processes
        self.wants_to_stop = False
        self.stopping = torch.zeros(())

    @property
    def note(self) -> str:
        """As for `Gradients`, of this process."""
        return self.own.note

    @property
    def seconds(self) -> float:
        """As for `Gradients`, of this process."""
        return self.own.seconds

    def __call__(self, *data: Tensor, progress: Tensor) -> Evaluation:
        """Return the parts of this process's rows, and loss, sums, norm and gradients of all rows.

        Args:
            data: This process's share of the batch.
            progress: Share of training that is done, a scalar in [0, 1].
        """
        own = self.own(*data, progress=progress)
        rows = len(own.terms.kl)
        told = (rows, float(self.wants_to_stop), own.failed, rows * own.terms.loss, *own.sums)
        facts = torch.stack(
            [torch.as_tensor(fact, dtype=own.norm.dtype, device=own.norm.device) for fact in told]
        )
        present = [g for g in own.gradients if g is not None]
        total = self.processes.sum(torch.cat([facts, *(rows * g.flatten() for g in present)]))
        (all_rows, stopping, failed, loss, *_), flat = total[: len(told)], total[len(told) :]
        flat /= all_rows
        norm = torch.linalg.vector_norm(flat)
        self.stopping = stopping
        parts = iter(flat.split([g.numel() for g in present]))
        return Evaluation(
            own.terms._replace(loss=loss / all_rows),
            total[4:6].double(),
            norm,
            torch.maximum((failed > 0).float(), 1 - torch.isfinite(norm).float()),
            tuple(None if g is None else next(parts).view_as(g) for g in own.gradients),
        )
