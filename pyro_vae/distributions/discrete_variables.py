"""What a discrete z is made of: so many variables, and their distribution from logits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import pyro.distributions as dist
from torch import Tensor

from pyro_vae._checks import check_integer
from pyro_vae.distributions.bernoulli import LogitBernoulli
from pyro_vae.distributions.one_hot import OneHotCode

__all__ = ["Bernoullis", "Categoricals", "DiscreteVariables"]


class DiscreteVariables(Protocol):
    """Independent discrete variables, which make up z."""

    @property
    def width(self) -> int:
        """Numbers in z, and logits of its distribution."""

    def __call__(self, logits: Tensor) -> dist.TorchDistribution:
        """Return their distribution, event shape (width,), for logits of shape (..., width)."""


@dataclass(frozen=True)
class Categoricals:
    """`count` categorical variables of `states` states; z holds their one-hot codes side by side.

    Args:
        count: How many variables.
        states: States of each, at least 2.

    Raises:
        InputError: If a number is no whole one, or too small.
    """

    count: int
    states: int = 10

    def __post_init__(self) -> None:
        check_integer(self.count, "count")
        check_integer(self.states, "states", minimum=2)

    @property
    def width(self) -> int:
        """Numbers in z, and logits of its distribution."""
        return self.count * self.states

    def __call__(self, logits: Tensor) -> dist.TorchDistribution:
        """Return their distribution, event shape (width,), for logits of shape (..., width)."""
        return OneHotCode(logits.unflatten(-1, (self.count, self.states)), validate_args=False)


@dataclass(frozen=True)
class Bernoullis:
    """`count` variables of two states; z holds a 0 or a 1 for each.

    Args:
        count: How many variables.

    Raises:
        InputError: If the number is not a positive whole one.
    """

    count: int

    def __post_init__(self) -> None:
        check_integer(self.count, "count")

    @property
    def width(self) -> int:
        """Numbers in z, and logits of its distribution."""
        return self.count

    def __call__(self, logits: Tensor) -> dist.TorchDistribution:
        """Return their distribution, event shape (width,), for logits of shape (..., width)."""
        return LogitBernoulli(logits=logits, validate_args=False).to_event(1)
