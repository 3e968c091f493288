"""A Bernoulli distribution whose log-probability takes fewer passes over memory."""

from __future__ import annotations

import pyro.distributions as dist
from torch import Tensor
from torch.nn.functional import softplus

from pyro_vae._compat import validate_sample

__all__ = ["LogitBernoulli"]


class LogitBernoulli(dist.Bernoulli):
    """Pyro's Bernoulli, its log-probability in fewer passes over memory: beside the networks it is what costs."""

    def log_prob(self, value: Tensor) -> Tensor:
        """Return `value logits - log(1 + exp(logits))`."""
        validate_sample(self, value)
        return (value * self.logits).sub_(softplus(self.logits))
