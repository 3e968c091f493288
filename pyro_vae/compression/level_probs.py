"""Probability tables of discrete likelihoods for entropy coding."""

from __future__ import annotations

from functools import singledispatch

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent

from pyro_vae._checks import InputError
from pyro_vae.distributions.bernoulli import LogitBernoulli
from pyro_vae.distributions.categorical_levels import CategoricalLevels
from pyro_vae.distributions.discretized_logistic import DiscretizedLogistic, level_log_prob
from pyro_vae.distributions.logistic_mixture import LogisticMixture

__all__ = ["column_groups", "level_probs"]


def column_groups(p: Distribution) -> list[slice]:
    """Return groups of columns (channels) whose columns are independent given z and the previous groups.

    Args:
        p: p(x | z), event shape (data_dim,).
    """
    if isinstance(p, LogisticMixture):
        channels, positions = p.centre.shape
        return [slice(c * positions, (c + 1) * positions) for c in range(channels)]
    return [slice(0, p.event_shape[0])]


@singledispatch
def level_probs(p: Distribution, x: Tensor, group: int) -> Tensor:
    """Return the probability of each level of a group's columns, given z and the previous groups.

    Args:
        p: p(x | z), batch shape (N,), event shape (data_dim,).
        x: Rows, shape (N, data_dim), in [0, 1]; only the previous groups are read.
        group: Index of the group in `column_groups`.

    Returns:
        Shape (N, columns of the group, levels).

    Raises:
        InputError: If the distribution has no probability table.
    """
    raise InputError(
        "Expected a discrete likelihood: bernoulli, categorical, discretized-logistic or logistic-mixture; got one "
        f"whose p(x | z) is {type(p).__name__}, which gives no probabilities to levels."
    )


@level_probs.register
def _(p: Independent, x: Tensor, group: int) -> Tensor:
    return level_probs(p.base_dist, x, group)


@level_probs.register
def _(p: LogitBernoulli, x: Tensor, group: int) -> Tensor:
    return torch.stack([torch.sigmoid(-p.logits), torch.sigmoid(p.logits)], dim=-1)


@level_probs.register
def _(p: CategoricalLevels, x: Tensor, group: int) -> Tensor:
    return p.logits.softmax(-2).transpose(-1, -2)


@level_probs.register
def _(p: DiscretizedLogistic, x: Tensor, group: int) -> Tensor:
    return _logistic_levels(p.loc, p.scale, p.levels)


@level_probs.register
def _(p: LogisticMixture, x: Tensor, group: int) -> Tensor:
    channels = x.unflatten(-1, p.centre.shape).unsqueeze(-3).unbind(-2)
    log_weights = p.logits
    for c, loc in enumerate(p.locations(channels)):
        scale = p.scale[..., c, :]
        if c == group:
            break
        log_weights = log_weights + level_log_prob(channels[c], loc, scale, p.levels)
    weights = log_weights.softmax(-2)
    return torch.einsum("nkp,nkpl->npl", weights, _logistic_levels(loc, scale, p.levels))


def _logistic_levels(loc: Tensor, scale: Tensor, levels: int) -> Tensor:
    """Return the probability of each level under discretized logistics, shape (*shape of loc, levels).

    Differences of the distribution function at the midpoints between levels. A difference that rounds to 0 gets the
    coder's smallest probability.
    """
    between = (torch.arange(1, levels, dtype=loc.dtype, device=loc.device) - 0.5) / max(levels - 1, 1)
    below = torch.sigmoid((between - loc.unsqueeze(-1)) / scale.unsqueeze(-1))
    edge = below.new_zeros(()).expand(*below.shape[:-1], 1)
    return torch.diff(below, prepend=edge, append=edge + 1)
