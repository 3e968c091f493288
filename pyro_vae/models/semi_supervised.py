"""A generative program with a class label that is observed for some rows."""

from __future__ import annotations

from typing import Any, Protocol

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyro_vae._checks import check_integer, check_rows
from pyro_vae._context import ContextRange, label_by_row
from pyro_vae._inputs import entry_for
from pyro_vae.likelihoods.base import Likelihood
from pyro_vae.models.generative import Encodes, GenerativeModel

__all__ = ["SemiSupervisedModel"]


class Classifies(Encodes, Protocol):
    """A guide that predicts missing classes."""

    def fill(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Return the label of each row, or the most probable class if it is missing."""


class SemiSupervisedModel(GenerativeModel):
    """`y ~ Categorical(1/K)`, `z ~ p(z)`, `x | y, z ~ p(x | decoder(z, y))` (Kingma et al. 2014, M2, eq. 2).

    The class y is a latent site for all rows. For labelled rows the guide puts all mass on the label, so the bound is
    on log p(x, y); for the other rows it is on log p(x), with the class summed out.

    Args:
        prior: Module `() -> Distribution` over z, event shape (latent_dim,).
        decoder: Network (rows, latent_dim), labels (rows,) -> (rows, likelihood.num_outputs).
        likelihood: Module `decoder output -> Distribution` over x, event shape (data_dim,).
        num_classes: K.

    Raises:
        InputError: If `num_classes` is not a positive whole number.
    """

    class_logits: Tensor

    def __init__(
        self, prior: nn.Module, decoder: nn.Module, likelihood: Likelihood, num_classes: int
    ) -> None:
        super().__init__(prior, decoder, likelihood)
        self.num_classes = check_integer(num_classes, "num_classes")
        self.register_buffer("class_logits", torch.zeros(num_classes), persistent=False)

    @property
    def context_range(self) -> ContextRange:
        """One tensor of labels, used only by the guide."""
        return ContextRange(0, 1, ignores_more=True)

    def forward(self, x: Tensor | None = None, *context: Tensor, num_rows: int | None = None) -> Tensor:
        """Run the program: score the rows `x`, or sample rows if x is None; arguments as for the base class."""
        if x is not None:
            check_rows(x, self.likelihood.data_dim)
            num_rows = x.shape[-2]
        with pyro.plate("data", num_rows or 1, dim=-1):
            # y ~ Categorical(1/K)
            y = pyro.sample("y", dist.Categorical(logits=self.class_logits))
            # z ~ p(z)
            z = pyro.sample("z", self._prior_at())
            # x | y, z ~ p(x | y, z)
            return pyro.sample("x", self._likelihood_at(label_by_row(self.decoder, z, y)), obs=x)

    @torch.no_grad()
    def sample(self, num_rows: int = 1, *context: Any, batch_size: int = 1000) -> Tensor:
        """Draw rows from p(x | y) for labels (num_rows,), or from p(x) without labels; see the base class."""
        if not context:
            context = (
                dist.Categorical(logits=self.class_logits).sample((check_integer(num_rows, "num_rows"),)),
            )
        return super().sample(num_rows, *context, batch_size=batch_size)

    def reconstruct(self, x: Any, guide: Classifies, *context: Any, batch_size: int = 1000) -> Tensor:  # type: ignore[override]
        """Return the mean of p(x | y, z) at the mean of q(z | x, y), with unknown y replaced by the most probable."""
        rows, *labels = entry_for(self).rows_and_context(x, context)
        return super().reconstruct(rows, guide, guide.fill(rows, *labels), batch_size=batch_size)
