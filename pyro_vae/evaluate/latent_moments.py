"""Means, marginals and divergences of a latent site in closed form."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.distributions import (
    Categorical,
    Distribution,
    Independent,
    LowRankMultivariateNormal,
    MultivariateNormal,
    Normal,
    kl_divergence,
)

from pyro_vae.distributions.one_hot import OneHotCode
from pyro_vae.objectives.divergences import factors_of

__all__ = ["as_columns", "kl_per_dimension", "mean_columns"]


def mean_columns(q: Distribution) -> Tensor | None:
    """Return E[z], shape (N, size, width), float64, as in `SiteDraws.means`; None if it is unknown."""
    base = q.base_dist if isinstance(q, Independent) else q
    if isinstance(base, Categorical | OneHotCode):
        return base.probs.double().reshape(len(base.probs), -1, base.probs.shape[-1])
    try:
        return as_columns(q.mean.unsqueeze(0), len(q.event_shape))[0]
    except NotImplementedError:
        return None


def as_columns(values: Tensor, event_dim: int) -> Tensor:
    """Return values of shape (K, N, *event) in float64 and with shape (K, N, size, 1)."""
    return values.double().reshape(*values.shape[: values.ndim - event_dim], -1, 1)


def kl_per_dimension(q: Distribution, p: Distribution) -> Tensor | None:
    """Return `KL(q(z_d) || p(z_d))` of each row and dimension, nats, shape (N, size); None without a closed form."""
    q_marginals, p_marginals = _marginals(q), _marginals(p)
    if q_marginals is None or p_marginals is None:
        return None
    try:
        divergence = kl_divergence(q_marginals, p_marginals).double()
    except NotImplementedError:
        return None
    return divergence.reshape(len(divergence), -1)


def _marginals(distribution: Any) -> Distribution | None:
    """Return the marginal distribution of each dimension, or None if it is unknown."""
    factors: Distribution | None = factors_of(distribution)
    if factors is not None:
        return factors
    if isinstance(distribution, MultivariateNormal | LowRankMultivariateNormal):
        return Normal(distribution.mean, distribution.variance.sqrt())
    return None if distribution.event_shape else distribution
