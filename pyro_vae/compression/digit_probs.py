"""Levels of columns as digits, with the probability of each digit under a discrete likelihood."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import singledispatch

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.distributions import Distribution, Independent

from pyro_vae._checks import InputError
from pyro_vae.distributions.bernoulli import LogitBernoulli
from pyro_vae.distributions.categorical_levels import CategoricalLevels
from pyro_vae.distributions.discretized_logistic import DiscretizedLogistic, level_log_prob, level_number
from pyro_vae.distributions.logistic_mixture import LogisticMixture

__all__ = ["Digit", "digit_probs", "digits_of"]

LEAST_PROB = 2.0**-60
"""Added to each probability, so that it is not 0 where rounding loses it. Far below the resolution of the coder."""


@dataclass(frozen=True)
class Digit:
    """A digit of the levels of some columns, which are independent given z and the digits before.

    Attributes:
        channel: Index of the channel of the columns.
        columns: The columns.
        unit: Value of one unit of the digit, in levels.
        base: Number of values of the digit.
    """

    channel: int
    columns: slice
    unit: int
    base: int

    def symbols(self, levels: NDArray[np.int64]) -> NDArray[np.int32]:
        """Return the digit of levels of the columns, same shape."""
        return (levels // self.unit % self.base).astype(np.int32)


def digits_of(p: Distribution) -> list[Digit]:
    """Return the digits that make up rows under a likelihood, in the order of decoding.

    A level under logistic distributions has two digits, so that their distribution function is evaluated at about
    2 sqrt(levels) points and not at each level.

    Args:
        p: p(x | z), batch shape (N,), event shape (data_dim,).
    """
    base = p.base_dist if isinstance(p, Independent) else p
    if isinstance(base, LogisticMixture):
        channels, positions = base.centre.shape
        parts = [slice(c * positions, (c + 1) * positions) for c in range(channels)]
        return [digit for c, columns in enumerate(parts) for digit in _two_digits(c, columns, base.levels)]
    columns = slice(0, p.event_shape[0])
    if isinstance(base, DiscretizedLogistic):
        return _two_digits(0, columns, base.levels)
    return [Digit(0, columns, unit=1, base=getattr(base, "levels", 2))]


def _two_digits(channel: int, columns: slice, levels: int) -> list[Digit]:
    """Return a coarse and a fine digit of similar base; one digit for two levels."""
    unit = 2 ** math.ceil(math.log2(levels) / 2) if levels > 2 else 1
    coarse = Digit(channel, columns, unit, math.ceil(levels / unit))
    return [coarse, Digit(channel, columns, 1, unit)] if unit > 1 else [coarse]


@singledispatch
def digit_probs(p: Distribution, x: Tensor, digit: Digit) -> Tensor:
    """Return the probability of each value of a digit, given z and the digits before it.

    Args:
        p: p(x | z), batch shape (N,), event shape (data_dim,).
        x: Rows, shape (N, data_dim), in [0, 1]; only their digits before this one are read.
        digit: One of `digits_of(p)`.

    Returns:
        Shape (N, columns of the digit, base).

    Raises:
        InputError: If the distribution gives levels no probabilities.
    """
    raise InputError(
        "Expected a discrete likelihood: bernoulli, categorical, discretized-logistic or logistic-mixture; got one "
        f"whose p(x | z) is {type(p).__name__}, which gives no probabilities to levels."
    )


@digit_probs.register
def _(p: Independent, x: Tensor, digit: Digit) -> Tensor:
    return digit_probs(p.base_dist, x, digit)


@digit_probs.register
def _(p: LogitBernoulli, x: Tensor, digit: Digit) -> Tensor:
    return torch.stack([torch.sigmoid(-p.logits), torch.sigmoid(p.logits)], dim=-1)


@digit_probs.register
def _(p: CategoricalLevels, x: Tensor, digit: Digit) -> Tensor:
    return p.logits.softmax(-2).transpose(-1, -2)


@digit_probs.register
def _(p: DiscretizedLogistic, x: Tensor, digit: Digit) -> Tensor:
    below = _distribution_function(p.loc, p.scale, _points(x, digit, p.levels))
    return _differences(below)


@digit_probs.register
def _(p: LogisticMixture, x: Tensor, digit: Digit) -> Tensor:
    channels = x.unflatten(-1, p.centre.shape).unsqueeze(-3).unbind(-2)
    log_weights = p.logits
    for c, loc in enumerate(p.locations(channels)):
        scale = p.scale[..., c, :]
        if c == digit.channel:
            break
        log_weights = log_weights + level_log_prob(channels[c], loc, scale, p.levels)
    below = _distribution_function(loc, scale, _points(x, digit, p.levels).unsqueeze(-3))
    return _differences(torch.einsum("nkp,nkpl->npl", log_weights.softmax(-2), below))


def _points(x: Tensor, digit: Digit, levels: int) -> Tensor:
    """Return the midpoints between levels at which values of a digit begin and end, shape (N, columns, base + 1).

    They are infinite at the lowest and highest level, which have the tails. Those of the first digit are the same for
    all rows and columns: shape (1, 1, base + 1).
    """
    span = digit.unit * digit.base
    if span < levels:
        start = level_number(x[:, digit.columns], levels) // span * span
    else:
        start = x.new_zeros((1, 1), dtype=torch.long)
    bound = start.unsqueeze(-1) + digit.unit * torch.arange(digit.base + 1, device=x.device)
    point = (bound - 0.5).to(x.dtype) / max(levels - 1, 1)
    return point.masked_fill(bound <= 0, -math.inf).masked_fill(bound >= levels, math.inf)


def _distribution_function(loc: Tensor, scale: Tensor, points: Tensor) -> Tensor:
    return torch.sigmoid((points - loc.unsqueeze(-1)) / scale.unsqueeze(-1))


def _differences(below: Tensor) -> Tensor:
    """Return probabilities that sum to one from values of a distribution function."""
    probs = torch.diff(below) + LEAST_PROB
    return probs / probs.sum(-1, keepdim=True)
