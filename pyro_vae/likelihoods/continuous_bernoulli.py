"""The continuous Bernoulli likelihood, for values on [0, 1]."""

from __future__ import annotations

import math

import pyro.distributions as dist
import torch
from torch import Tensor

from pyro_vae._checks import check
from pyro_vae.distributions.continuous_bernoulli import LogitContinuousBernoulli
from pyro_vae.likelihoods.base import Likelihood

__all__ = ["ContinuousBernoulliLikelihood"]

LARGEST_LOGIT = 1e4
"""Maximum absolute logit: bounds the density, and keeps means at least 1e-4 away from 0 and 1."""
BEND = math.sqrt(12)
"""1 / standard deviation of the uniform distribution, which has logit 0."""
LIMIT = math.asinh(LARGEST_LOGIT / BEND)


class ContinuousBernoulliLikelihood(Likelihood):
    """`p(x | z) = C(l(z)) exp(l(z) x)` column by column, a density on [0, 1] (Loaiza-Ganem & Cunningham 2019).

    This is the binary cross-entropy of grey values, normalized to a density. The logits are `l = sqrt(12) sinh(t)`,
    with outputs added to t. A distribution with logit l has a standard deviation of about `1 / sqrt(12 + l^2)`, so
    one unit of t moves the mean by about one standard deviation everywhere. |l| saturates smoothly at 10 000, which
    bounds the density for repeated values.

    Args:
        mean: Mean of each column of the training split, shape (data_dim,), with x in [0, 1].
        std: Standard deviation of each column, shape (data_dim,); not used.

    Raises:
        InputError: If a mean lies outside [0, 1].
    """

    kind = "unit-interval"
    offset: Tensor

    def __init__(self, mean: Tensor, std: Tensor) -> None:
        super().__init__(mean, std)
        check(
            bool(((self.mean >= 0) & (self.mean <= 1)).all()),
            "Expected values in [0, 1]; some column means are outside. Rescale them, or use a likelihood on the reals.",
        )
        self.register_buffer("offset", _start(self.mean.double()).to(self.mean.dtype))

    def forward(self, outputs: Tensor) -> dist.TorchDistribution:
        """Return p(x | z) from `outputs`, shape (..., data_dim)."""
        return LogitContinuousBernoulli(logits=_logits(self.offset + outputs)).to_event(1)


def _logits(t: Tensor) -> Tensor:
    bounded = LIMIT * torch.tanh(t / LIMIT)
    # sinh(t), written out because compiled sinh is not vectorized
    return (BEND / 2) * (bounded.exp() - (-bounded).exp())


def _start(mean: Tensor) -> Tensor:
    """Return the initial t by bisection: the distribution has the column's mean, up to the limit of the logits."""
    low, high = torch.full_like(mean, -2 * LIMIT), torch.full_like(mean, 2 * LIMIT)
    for _ in range(60):
        middle = (low + high) / 2
        above = LogitContinuousBernoulli(logits=_logits(middle)).mean > mean
        low, high = torch.where(above, low, middle), torch.where(above, middle, high)
    return (low + high) / 2
