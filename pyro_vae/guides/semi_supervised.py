"""A guide with a classifier, for models whose class label is observed for some rows."""

from __future__ import annotations

from typing import Any

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.nn.functional import embedding

from pyro_vae._checks import InputError, check
from pyro_vae._context import ContextRange, label_by_row, row_by_row
from pyro_vae._inputs import entry_for
from pyro_vae._programs import Program
from pyro_vae.data.contexts import MISSING
from pyro_vae.guides.base import AmortizedGuide

__all__ = ["SemiSupervisedGuide"]

IMPOSSIBLE = -1e4
"""Logit of classes other than the label: probability 0 in single precision, with a finite logarithm."""


class SemiSupervisedGuide(AmortizedGuide):
    """`y | x ~ Categorical(classifier(x))`, `z | x, y ~ q(z | x, y)` (Kingma et al. 2014, M2, eq. 4).

    For labelled rows q(y | x) puts all mass on the label.

    Args:
        classifier: Network (rows, data_dim) -> (rows, num_classes), logits.
        guide: q(z | x, y), whose encoder takes labels as context.
    """

    def __init__(self, classifier: nn.Module, guide: AmortizedGuide) -> None:
        Program.__init__(self)
        self.classifier = classifier
        self.guide = guide

    @property
    def encoder(self) -> nn.Module:  # type: ignore[override]
        """The encoder of z."""
        return self.guide.encoder

    @property
    def context_range(self) -> ContextRange:
        """One optional tensor of labels, -1 if unknown."""
        return ContextRange(0, 1, ignores_more=True)

    def family(self, outputs: Tensor) -> dist.TorchDistribution:
        """Return q(z | x, y) given the encoder's `outputs`."""
        return self.guide.family(outputs)

    def classes(self, x: Tensor, labels: Tensor | None = None) -> dist.TorchDistribution:
        """Return q(y | x), batch shape (..., N), for rows (..., N, data_dim) and labels (N,), if known."""
        logits = row_by_row(self.classifier, x)
        if labels is not None:
            logits = torch.where((labels == MISSING).unsqueeze(-1), logits, _known_logits(labels, logits))
        return dist.Categorical(logits=logits)

    def forward(self, x: Tensor, *context: Tensor) -> Tensor:
        """Run the program on the rows `x`, shape (N, data_dim), and optional labels; return z, (N, latent_dim)."""
        with pyro.plate("data", x.shape[-2], dim=-1):
            # y ~ q(y | x)
            y = pyro.sample("y", self.classes(x, *context[:1]))
            # z ~ q(z | x, y)
            return pyro.sample("z", self.family(label_by_row(self.encoder, x, y)))

    @torch.no_grad()
    def classify(self, x: Any, batch_size: int = 1000) -> Tensor:
        """Return q(y | x) of each row as probabilities, shape (N, num_classes), in chunks.

        Args:
            x: Rows in any container that `fit` accepts, in data units.
            batch_size: Rows per chunk.
        """
        rows = entry_for(self).taking(ContextRange(0, 0)).rows(x)[0]
        return torch.cat([self.classes(chunk).probs for chunk in rows.split(batch_size)])

    @torch.no_grad()
    def fill(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the label of each row, int64 (N,), or its most probable class if it is missing."""
        predicted = self.classify(x).argmax(-1)
        return predicted if labels is None else torch.where(labels == MISSING, predicted, labels)

    def posterior(self, x: Any, *context: Any) -> dist.TorchDistribution:
        """Return q(z | x, y) at the known label, or at the most probable class, of each row."""
        rows, *labels = entry_for(self).rows_and_context(x, context)
        return self.guide.posterior(rows, self.fill(rows, *labels))

    def encode(self, x: Any, *context: Any, batch_size: int = 1000) -> dist.TorchDistribution:
        """Return `posterior(x, *context)`, in chunks, without gradients."""
        rows, *labels = entry_for(self).rows_and_context(x, context)
        return self.guide.encode(rows, self.fill(rows, *labels), batch_size=batch_size)


def _known_logits(labels: Tensor, like: Tensor) -> Tensor:
    """Return logits, shape (N, num_classes), of known labels (N,); zeros for labels of -1.

    Raises:
        InputError: If labels are not class indices.
    """
    num_classes = like.shape[-1]
    check(
        labels.ndim == 1 and not labels.is_floating_point(),
        f"Expected labels as whole numbers of shape (N,); got shape {tuple(labels.shape)}, {labels.dtype}.",
    )
    impossible = IMPOSSIBLE * (1 - torch.eye(num_classes, dtype=like.dtype, device=like.device))
    table = torch.cat([impossible.new_zeros(1, num_classes), impossible])
    try:
        return embedding(labels.long() - MISSING, table)
    except IndexError:
        raise InputError(
            f"Expected labels from 0 to {num_classes - 1}, or {MISSING} if missing; got "
            f"{int(labels.min())} to {int(labels.max())}."
        ) from None
