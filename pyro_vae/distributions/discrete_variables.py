"""Discrete latent variables and their distribution given logits."""

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
    """Independent discrete variables of z."""

    @property
    def width(self) -> int:
        """Number of elements of z and of logits."""

    def __call__(self, logits: Tensor) -> dist.TorchDistribution:
        """Return their distribution, event shape (width,), for logits of shape (..., width)."""


@dataclass(frozen=True)
class Categoricals:
    """`count` categorical variables of `states` states; z is the concatenation of their one-hot codes.

    Args:
        count: Number of variables.
        states: Number of states of each variable, at least 2.

    Raises:
        InputError: If a number is not an integer, or too small.
    """

    count: int
    states: int = 10

    def __post_init__(self) -> None:
        check_integer(self.count, "count")
        check_integer(self.states, "states", minimum=2)

    @property
    def width(self) -> int:
        """Number of elements of z and of logits."""
        return self.count * self.states

    def __call__(self, logits: Tensor) -> dist.TorchDistribution:
        """Return their distribution, event shape (width,), for logits of shape (..., width)."""
        return OneHotCode(logits.unflatten(-1, (self.count, self.states)), validate_args=False)


@dataclass(frozen=True)
class Bernoullis:
    """`count` variables of two states; z has a 0 or 1 for each.

    Args:
        count: Number of variables.

    Raises:
        InputError: If the number is not a positive integer.
    """

    count: int

    def __post_init__(self) -> None:
        check_integer(self.count, "count")

    @property
    def width(self) -> int:
        """Number of elements of z and of logits."""
        return self.count

    def __call__(self, logits: Tensor) -> dist.TorchDistribution:
        """Return their distribution, event shape (width,), for logits of shape (..., width)."""
        return LogitBernoulli(logits=logits, validate_args=False).to_event(1)
