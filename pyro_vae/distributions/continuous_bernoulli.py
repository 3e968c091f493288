"""The continuous Bernoulli distribution for logits of any size."""

from __future__ import annotations

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.nn.functional import relu

from pyro_vae._compat import validate_sample

__all__ = ["LogitContinuousBernoulli"]

NEAR_ZERO = 0.5
"""Absolute value of logits below which series replace differences, with errors below 1e-8."""
NEARLY_UNIFORM = 1e-3
"""Absolute value of logits below which quantiles are first-order, with errors of 1e-7."""


class LogitContinuousBernoulli(dist.ContinuousBernoulli):
    """Pyro's continuous Bernoulli on [0, 1], from logits l of any size (Loaiza-Ganem & Cunningham 2019).

    `log p(x) = x l - A(l)`, `A(l) = log((exp(l) - 1) / l)`. torch computes the normalizer from sigmoid(l), which
    float32 resolves up to |l| of about 16; beyond that the density is not normalized. A black pixel dequantized to
    [0, 1 / 256) needs a logit of -512.
    """

    def log_prob(self, value: Tensor) -> Tensor:
        """Return `value l - A(l)`."""
        validate_sample(self, value)
        near, far = self.logits.clamp(-NEAR_ZERO, NEAR_ZERO), self.logits.abs().clamp_min(NEAR_ZERO)
        square = near.square()
        # A(l) = max(l, 0) + log((1 - exp(-|l|)) / |l|), and its series near 0
        series = near / 2 + square * (1 / 24 - square * (1 / 2880 - square / 181440))
        whole = relu(self.logits) + torch.log(-torch.expm1(-far) / far)
        return value * self.logits - torch.where(self.logits.abs() < NEAR_ZERO, series, whole)

    @property
    def mean(self) -> Tensor:
        """`A'(l) = 1 / (1 - exp(-l)) - 1 / l`."""
        size = self.logits.abs()
        far, near = size.clamp_min(NEAR_ZERO), size.clamp_max(NEAR_ZERO)
        square = near.square()
        series = 1 / 2 - near * (1 / 12 - square * (1 / 720 - square / 30240))
        # for -|l|; for |l| it is 1 minus this value
        lower = torch.where(size < NEAR_ZERO, series, far.reciprocal() - torch.expm1(far).reciprocal())
        return torch.where(self.logits > 0, 1 - lower, lower)

    @property
    def variance(self) -> Tensor:
        """`A''(l) = 1 / l^2 - 1 / (4 sinh(l / 2)^2)`."""
        size = self.logits.abs()
        far, square = size.clamp_min(NEAR_ZERO), size.clamp_max(NEAR_ZERO).square()
        series = 1 / 12 - square * (1 / 240 - square * (1 / 6048 - square / 172800))
        whole = far.reciprocal().square() - (2 * torch.sinh(far / 2)).reciprocal().square()
        return torch.where(size < NEAR_ZERO, series, whole)

    def icdf(self, value: Tensor) -> Tensor:
        """Return quantiles: for -|l|, `-log(1 - u (1 - exp(-|l|))) / |l|`, mirrored for positive logits."""
        positive, size = self.logits > 0, self.logits.abs()
        u = torch.where(positive, 1 - value, value)
        far = size.clamp_min(NEARLY_UNIFORM)
        whole = (-torch.log1p(u * torch.expm1(-far)) / far).clamp_max(1)
        lower = torch.where(size < NEARLY_UNIFORM, u - size * u * (1 - u) / 2, whole)
        return torch.where(positive, 1 - lower, lower)

    def rsample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:  # noqa: B008 (as in torch)
        """Draw samples as quantiles of uniform variables."""
        shape = self.shape(sample_shape)
        return self.icdf(torch.rand(shape, dtype=self.logits.dtype, device=self.logits.device))
