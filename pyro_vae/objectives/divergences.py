"""Divergences of a guide's distribution at a site from the model's: sampled, and in closed form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.distributions import (
    Independent,
    LowRankMultivariateNormal,
    MultivariateNormal,
    Normal,
    kl_divergence,
)

__all__ = ["Divergence", "analytic_kl", "factors_of", "sampled_kl"]

Divergence = Callable[[Any, Any, Tensor], Tensor]
"""Takes q, p and a sample of q; gives the divergence of q from p, of their batch shape."""


def sampled_kl(q: Any, p: Any, z: Tensor) -> Tensor:
    """Return `log q(z) - log p(z)`, of the distributions' batch shape."""
    difference: Tensor = q.log_prob(z) - p.log_prob(z)
    return difference


def analytic_kl(q: Any, p: Any, z: Tensor) -> Tensor:
    """Return `KL(q || p)` where it has a closed form, and its sample `log q(z) - log p(z)` where not.

    Torch knows many pairs, but not that of a normal with covariances and one without.
    """
    factors = factors_of(p)
    if isinstance(q, MultivariateNormal | LowRankMultivariateNormal) and isinstance(factors, Normal):
        # E_q log p: at the mean, less what the variances take off.
        expected = (factors.log_prob(q.mean) - q.variance / (2 * factors.variance)).sum(-1)
        return -q.entropy() - expected
    try:
        return kl_divergence(q, p)
    except NotImplementedError:
        return sampled_kl(q, p, z)


def factors_of(distribution: Any) -> Any:
    """Return the distribution of single dimensions where it factorises over its event, else None."""
    if isinstance(distribution, Independent) and not distribution.base_dist.event_shape:
        return distribution.base_dist
    return None
