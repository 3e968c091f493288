"""The continuous Bernoulli distribution for logits of any size."""

from __future__ import annotations

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.nn.functional import relu

from pyro_vae._compat import validate_sample

__all__ = ["LogitContinuousBernoulli"]

NEAR_ZERO = 0.5
"""Size of logits below which series stand in for differences; their errors are below 1e-8 there."""
NEARLY_UNIFORM = 1e-3
"""Size of logits below which a quantile is taken to first order, 1e-7 off."""


class LogitContinuousBernoulli(dist.ContinuousBernoulli):
    """Pyro's continuous Bernoulli on [0, 1], from logits l of any size (Loaiza-Ganem & Cunningham 2019).

    `log p(x) = x l - A(l)`, `A(l) = log((exp(l) - 1) / l)`. torch takes the normalizer from sigmoid(l), which float32
    holds up to logits of about 16 in size; the density is no longer normalized beyond, and a black pixel that is
    dequantized to [0, 1 / 256) needs -512.
    """

    def log_prob(self, value: Tensor) -> Tensor:
        """Return `value l - A(l)`."""
        validate_sample(self, value)
        near, far = self.logits.clamp(-NEAR_ZERO, NEAR_ZERO), self.logits.abs().clamp_min(NEAR_ZERO)
        square = near.square()
        # A(l) = max(l, 0) + log((1 - exp(-|l|)) / |l|), and its series at 0
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
        # of -|l|; that of |l| is 1 minus it
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
        """Return quantiles: of -|l|, `-log(1 - u (1 - exp(-|l|))) / |l|`, mirrored for positive logits."""
        positive, size = self.logits > 0, self.logits.abs()
        u = torch.where(positive, 1 - value, value)
        far = size.clamp_min(NEARLY_UNIFORM)
        whole = (-torch.log1p(u * torch.expm1(-far)) / far).clamp_max(1)
        lower = torch.where(size < NEARLY_UNIFORM, u - size * u * (1 - u) / 2, whole)
        return torch.where(positive, 1 - lower, lower)

    def rsample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:  # noqa: B008 (as torch has it)
        """Draw by the quantiles of uniform variables."""
        shape = self.shape(sample_shape)
        return self.icdf(torch.rand(shape, dtype=self.logits.dtype, device=self.logits.device))
