"""Gradients of a batch that is evaluated in parts."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pyro_vae.compiled import Evaluation, Gradients
from pyro_vae.objectives import Terms

__all__ = ["AccumulatedGradients"]


class AccumulatedGradients:
    """Loss and gradients of a batch as means over its parts: memory depends on the rows of a part.

    The gradient is `sum_i n_i / n g_i` for parts i with n_i of the n rows and the gradient g_i of their mean loss: that
    of the mean loss of the batch, also if the last part is smaller. Terms of an objective that are not means over rows,
    such as free bits, are evaluated per part.

    Args:
        own: Loss and gradients of a part.
        part_size: Rows of a part; the last one may have fewer.
    """

    def __init__(self, own: Gradients, part_size: int) -> None:
        self.own = own
        self.part_size = part_size

    @property
    def note(self) -> str:
        """As for `Gradients`."""
        return self.own.note

    @property
    def seconds(self) -> float:
        """As for `Gradients`."""
        return self.own.seconds

    def parts(self, data: tuple[Tensor, ...]) -> list[tuple[Tensor, ...]]:
        """Return the parts of a batch, in the order in which they are evaluated."""
        return list(zip(*(tensor.split(self.part_size) for tensor in data), strict=True))

    def __call__(self, *data: Tensor, progress: Tensor, unchanged: bool = False) -> Evaluation:
        """Return loss and gradients for a batch, and the terms of all its rows in order.

        Args:
            data: Arguments of model and guide.
            progress: Fraction of training done, a scalar in [0, 1].
            unchanged: Whether the programs are known to be unchanged since the last call (see `Gradients`).
        """
        gradients: list[Tensor | None] = []
        found: list[Evaluation] = []
        shares: list[float] = []
        for part in self.parts(data):
            evaluation = self.own(*part, progress=progress, unchanged=unchanged or bool(found))
            shares.append(len(part[0]) / len(data[0]))
            _add(gradients, evaluation.gradients, shares[-1])
            found.append(evaluation._replace(gradients=()))
            del evaluation  # frees the gradients of this part before the next one is evaluated
        norm = nn.utils.get_total_norm([gradient for gradient in gradients if gradient is not None])
        failed = torch.stack([*(part.failed for part in found), 1 - torch.isfinite(norm).float()]).amax()
        terms = Terms(
            torch.stack([share * part.terms.loss for share, part in zip(shares, found, strict=True)]).sum(),
            torch.cat([part.terms.reconstruction for part in found]),
            torch.cat([part.terms.kl for part in found]),
        )
        return Evaluation(
            terms, torch.stack([part.sums for part in found]).sum(0), norm, failed, tuple(gradients)
        )


def _add(total: list[Tensor | None], gradients: Sequence[Tensor | None], share: float) -> None:
    """Add gradients times `share` in place; None is zero, and an empty total is zero."""
    if not total:
        total.extend([None] * len(gradients))
    for number, gradient in enumerate(gradients):
        if gradient is None:
            continue
        before = total[number]
        # The first product is a new tensor, since autograd may return one tensor for several parameters.
        total[number] = gradient * share if before is None else before.add_(gradient, alpha=share)
