"""Evaluation on the validation rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence, Sized

import torch
from torch import Tensor

from pyro_vae.compiled import CompiledGradients, Gradients, uncompiled
from pyro_vae.objectives import ELBO, ElboEstimate, Loss, Terms, collect_elbo
from pyro_vae.processes import SINGLE_PROCESS, Processes
from pyro_vae.statistics import mean_and_se

__all__ = ["Validation", "worth_tracing"]

TRACE_REPAID_AFTER = 2_000
"""Minimum number of blocks of rows for tracing. It saves 1.3 to 2.5 ms per block and takes 3.4 s of processor time,
most of it for the import of TorchInductor."""


def worth_tracing(num_epochs: int, blocks: Iterable[Sequence[Tensor]]) -> bool:
    """Return whether tracing pays for the validation of `num_epochs` epochs; True if the blocks cannot be counted."""
    return not isinstance(blocks, Sized) or num_epochs * len(blocks) >= TRACE_REPAID_AFTER


class Validation:
    """The ELBO of the validation rows, and the training loss at full weight if it is the criterion.

    The noise is the same in every epoch, so that epochs differ only by their weights.

    Args:
        loss: An objective bound to a model and a guide.
        blocks: Blocks of rows, as the programs take them.
        with_loss: Whether to measure the loss too.
        traced: Whether to trace the programs; see `worth_tracing`. They are not compiled, since products dominate for a
            thousand rows at a time.
        seed: Seed of the noise.
        processes: The processes that train together; `blocks` gives this one's part.
    """

    def __init__(
        self,
        loss: Loss,
        blocks: Callable[[], Iterable[tuple[Tensor, ...]]],
        *,
        with_loss: bool = False,
        traced: bool = False,
        seed: int = 0,
        processes: Processes = SINGLE_PROCESS,
    ) -> None:
        self.blocks = blocks
        self.with_loss = with_loss
        self.seed = seed
        self.processes = processes
        self.loss = loss
        elbo = ELBO(max_plate_nesting=loss.objective.max_plate_nesting)
        measured = loss if with_loss else elbo(loss.model, loss.guide)
        self._terms = Gradients(measured, ())
        if traced:
            self._terms = CompiledGradients(measured, (), next(iter(blocks())), uncompiled)

    def __call__(self) -> dict[str, float]:
        """Return "elbo", "elbo_se", "reconstruction", "kl" and optionally "loss"; nats per example.

        For objectives that are not bounds the names are those of `Objective.named`, with a standard error of the first.
        """
        training = self.loss.training
        self.loss.eval()
        losses: list[Tensor] = []
        own = collect_elbo(lambda *block: self._measure(block, losses), self.blocks(), self.seed)
        self.loss.train(training)
        estimate = ElboEstimate(*(self.processes.gather(part) for part in (own.reconstruction, own.kl)))
        summary = self._summary(estimate)
        if not self.with_loss:
            return summary
        loss = self.processes.sum(torch.stack(losses).sum()) / len(estimate.value)
        return summary | {"loss": float(loss)}

    def _summary(self, estimate: ElboEstimate) -> dict[str, float]:
        if self.loss.objective.is_bound:
            return estimate.summary()
        mean, se = mean_and_se(estimate.reconstruction)
        named = self.loss.objective.named(mean, float(estimate.kl.mean()))
        return named | {f"{next(iter(named))}_se": se}

    def _measure(self, block: Sequence[Tensor], losses: list[Tensor]) -> Terms:
        evaluation = self._terms(*block, progress=torch.ones((), device=block[0].device))
        losses.append(evaluation.sums[0])
        return evaluation.terms
