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

from pyro_vae._checks import InputError
from pyro_vae.distributions.bernoulli import LogitBernoulli
from pyro_vae.distributions.one_hot import OneHotCode
from pyro_vae.objectives.supports import measure_of

__all__ = [
    "Divergence",
    "analytic_kl",
    "by_factor",
    "closed_kl",
    "factors_of",
    "is_discrete_code",
    "sampled_kl",
]

Divergence = Callable[[Any, Any, Tensor], Tensor]
"""Function from q, p and a sample of q to the divergence of q from p, with their batch shape."""


def sampled_kl(q: Any, p: Any, z: Tensor) -> Tensor:
    """Return `log q(z) - log p(z)`, with the distributions' batch shape."""
    difference: Tensor = q.log_prob(z) - p.log_prob(z)
    return difference


def analytic_kl(q: Any, p: Any, z: Tensor) -> Tensor:
    """Return `KL(q || p)` if it has a closed form, else the sample `log q(z) - log p(z)`.

    In addition to torch's closed forms there is that of a full-covariance and a diagonal normal.
    """
    factors = factors_of(p)
    if isinstance(q, MultivariateNormal | LowRankMultivariateNormal) and isinstance(factors, Normal):
        # E_q log p: the value at the mean, minus the contribution of the variances.
        expected = (factors.log_prob(q.mean) - q.variance / (2 * factors.variance)).sum(-1)
        return -q.entropy() - expected
    try:
        return kl_divergence(q, p)
    except NotImplementedError:
        return sampled_kl(q, p, z)


def closed_kl(q: Any, p: Any, z: Tensor) -> Tensor:
    """Return `KL(q || p)` in closed form for discrete distributions, else the sample `log q(z) - log p(z)`.

    For discrete distributions `log q(z) - log p(z)` is not defined at relaxed z.

    Raises:
        InputError: If discrete distributions have no closed form.
    """
    if measure_of(q) != "a probability mass":
        return sampled_kl(q, p, z)
    try:
        return kl_divergence(q, p)
    except NotImplementedError:
        raise InputError(
            f"Expected a divergence in closed form, which relaxed samples need; there is none of {type(q).__name__} "
            f"from {type(p).__name__}. Take a prior of the guide's family, or another objective, such as RLOO."
        ) from None


def is_discrete_code(distribution: Any) -> bool:
    """Return whether a distribution is one of the library's `DiscreteVariables`."""
    return isinstance(factors_of(distribution), OneHotCode | LogitBernoulli)


def factors_of(distribution: Any) -> Any:
    """Return the distribution of single dimensions if it factorizes over its event, else None.

    For one-hot codes a dimension is a variable with all its states.
    """
    if isinstance(distribution, OneHotCode):
        return distribution.variables
    if isinstance(distribution, Independent) and not distribution.base_dist.event_shape:
        return distribution.base_dist
    return None


def by_factor(distribution: Any, z: Tensor) -> Tensor:
    """Return a value of a distribution in the shape of its `factors_of`."""
    return distribution.by_variable(z) if isinstance(distribution, OneHotCode) else z
