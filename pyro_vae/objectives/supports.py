"""The measure of a distribution, and whether one support contains another."""

from __future__ import annotations

import math
from typing import Any

from pyro.distributions import (
    Delta,
    RelaxedBernoulliStraightThrough,
    RelaxedOneHotCategoricalStraightThrough,
)
from torch import Tensor
from torch.distributions import MixtureSameFamily
from torch.distributions.constraints import (
    Constraint,
    MixtureSameFamilyConstraint,
    boolean,
    independent,
    real,
)

__all__ = [
    "contains",
    "family_name",
    "is_point_mass",
    "measure_of",
    "point_of",
    "rounds_its_samples",
    "support_of",
]


def is_point_mass(distribution: Any) -> bool:
    """Return whether all of a distribution's mass is at one point (`Delta`, also wrapped or transformed)."""
    return _is_made_of(distribution, Delta)


def rounds_its_samples(distribution: Any) -> bool:
    """Return whether samples are rounded, but scored before rounding (Pyro's relaxed straight-through families)."""
    return _is_made_of(
        distribution, RelaxedOneHotCategoricalStraightThrough | RelaxedBernoulliStraightThrough
    )


def family_name(distribution: Any) -> str:
    """Return the name of the family inside `Independent`, `expand` and `mask`."""
    while type(distribution).__name__ in ("Independent", "ExpandedDistribution", "MaskedDistribution"):
        distribution = distribution.base_dist
    return type(distribution).__name__


def _is_made_of(distribution: Any, family: Any) -> bool:
    while not isinstance(distribution, family):
        if isinstance(distribution, MixtureSameFamily):
            distribution = distribution.component_distribution
        elif hasattr(distribution, "base_dist"):
            distribution = distribution.base_dist
        else:
            return False
    return True


def point_of(distribution: Any) -> Tensor:
    """Return the point estimate of a distribution: its mean, or its mode if it is discrete."""
    discrete = measure_of(distribution) == "a probability mass"
    value: Tensor = distribution.mode if discrete else distribution.mean
    return value


def support_of(distribution: Any) -> Constraint | None:
    """Return the support of one coordinate, or of the smallest event that has one; None if it is unknown."""
    try:
        support = distribution.support
    except NotImplementedError:
        return None
    while isinstance(support, independent | MixtureSameFamilyConstraint):
        support = support.base_constraint
    return support if isinstance(support, Constraint) else None


def measure_of(distribution: Any) -> str | None:
    """Return the quantity whose logarithm `log_prob` returns, or None if it is unknown.

    Two log-probabilities can be subtracted only if this is the same.
    """
    if is_point_mass(distribution):
        return "a point mass"
    support = support_of(distribution)
    if support is None:
        return None
    if support.is_discrete:
        return "a probability mass"
    if support.event_dim == 0:
        return "a density"
    return f"a density over {_named(support)}"


def contains(outer: Constraint, inner: Constraint = real) -> bool | None:
    """Return whether `outer` contains `inner`, up to end points; None if that depends on the values.

    Bounds that are tensors differ by row, so only single values can be checked against them.
    """
    if outer is inner or isinstance(outer, type(real)):
        return True
    limits, others = _limits(outer), _limits(inner)
    if limits and others:
        known = all(isinstance(bound, int | float) for bound in limits + others)
        return limits[0] <= others[0] and others[1] <= limits[1] if known else None
    plain = type(outer) is type(inner) and not vars(outer) and not vars(inner)
    return True if plain else None


def _limits(support: Constraint) -> tuple[Any, Any] | None:
    """Return the lower and upper bound of an interval or of a range of integers; None for other sets."""
    if isinstance(support, type(boolean)):
        return 0, 1
    bounded = hasattr(support, "lower_bound") or hasattr(support, "upper_bound")
    if support.event_dim or not (bounded or isinstance(support, type(real))):
        return None
    return getattr(support, "lower_bound", -math.inf), getattr(support, "upper_bound", math.inf)


def _named(support: Constraint) -> str:
    return type(support).__name__.strip("_").lower()
