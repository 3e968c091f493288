"""The Bernoulli likelihood, for zeros and ones."""

from __future__ import annotations

from typing import ClassVar

import pyro.distributions as dist
import torch
from torch import Tensor

from pyro_vae._checks import check
from pyro_vae.distributions.bernoulli import LogitBernoulli
from pyro_vae.likelihoods.base import Likelihood

__all__ = ["BernoulliLikelihood"]


class BernoulliLikelihood(Likelihood):
    """`x | z ~ Bernoulli(logits(z))` column by column, for x in {0, 1}.

    Args:
        mean: Fraction of ones in each column of the training split, shape (data_dim,).
        std: Standard deviation of each column, shape (data_dim,); not used.

    Raises:
        InputError: If a mean lies outside [0, 1].

    Example:
        >>> import torch
        >>> from pyro_vae.likelihoods import BernoulliLikelihood
        >>> likelihood = BernoulliLikelihood(torch.tensor([0.2, 0.5]), torch.tensor([0.4, 0.5]))
        >>> likelihood(torch.zeros(1, 2)).mean
        tensor([[0.2000, 0.5000]])
    """

    kind = "binary"
    # A column that is constant in training starts at odds of 1 to 1000.
    smallest_share: ClassVar[float] = 1e-3
    offset: Tensor

    def __init__(self, mean: Tensor, std: Tensor) -> None:
        super().__init__(mean, std)
        check(
            bool(((self.mean >= 0) & (self.mean <= 1)).all()),
            "Expected binary data, with column means in [0, 1].",
        )
        share = self.mean.clamp(self.smallest_share, 1 - self.smallest_share)
        self.register_buffer("offset", torch.logit(share))

    def forward(self, outputs: Tensor) -> dist.TorchDistribution:
        """Return p(x | z) from `outputs`, shape (..., data_dim): logits relative to the logits of the column means."""
        return LogitBernoulli(logits=self.offset + outputs).to_event(1)
