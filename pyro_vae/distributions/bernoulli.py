"""A Bernoulli distribution with a faster log-probability."""

from __future__ import annotations

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions.kl import register_kl
from torch.nn.functional import softplus

from pyro_vae._compat import validate_sample

__all__ = ["LogitBernoulli"]


class LogitBernoulli(dist.Bernoulli):
    """Pyro's Bernoulli with fewer passes over memory in `log_prob`, the largest cost besides the networks."""

    @property
    def mode(self) -> Tensor:
        """The more probable value; 1 for equal probabilities, where torch returns NaN."""
        return (self.logits >= 0).to(self.logits.dtype)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return `value logits - log(1 + exp(logits))`."""
        validate_sample(self, value)
        logits = self.logits
        if torch.is_grad_enabled() or value.dtype != logits.dtype or not _fits(value, logits):
            return (value * logits).sub_(softplus(logits))
        # One new tensor instead of two. Products with zeros and ones are exact, so the result is the same.
        return softplus(logits).neg_().addcmul_(value, logits)


def _fits(value: Tensor, logits: Tensor) -> bool:
    """Return whether `value` broadcasts to the shape of `logits`."""
    return torch.broadcast_shapes(value.shape, logits.shape) == logits.shape


@register_kl(LogitBernoulli, LogitBernoulli)
def _kl(q: LogitBernoulli, p: LogitBernoulli) -> Tensor:
    return q.probs * (q.logits - p.logits) + softplus(p.logits) - softplus(q.logits)
