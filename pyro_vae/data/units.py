"""Kinds of likelihoods (densities or probabilities), and bits per dimension of integers."""

from __future__ import annotations

import math
from typing import Literal, get_args

from pyro_vae.data.preprocessing import Preprocessing

__all__ = ["LIKELIHOOD_KINDS", "LikelihoodKind", "bits_per_dim"]

LikelihoodKind = Literal["continuous", "unit-interval", "binary", "integer", "table"]
"""Kind of p(x | z): a density on the reals or on [0, 1], a probability of zeros and ones or of integers, or for a table
one of these for each column."""
LIKELIHOOD_KINDS: tuple[LikelihoodKind, ...] = get_args(LikelihoodKind)


def bits_per_dim(log_prob: float, data_dim: int, preprocessing: Preprocessing) -> float | None:
    """Return the bits per dimension of integers, or a bound on them; None if x is not made of integers.

    `-(log_prob / data_dim + log_width) / log 2`. A density of dequantized integers bounds their probability,
    `log P(k) >= E_u log p(x) + data_dim log_width` (Theis, van den Oord & Bethge 2016, section 3.1); if p is the
    probability itself, `log_width` is 0. Both are then on one scale.

    Args:
        log_prob: log p(x) or a bound on it, nats per example.
        data_dim: Size of one row.
        preprocessing: Map from stored rows to x.
    """
    log_width = preprocessing.log_width
    return None if log_width is None else -(log_prob / data_dim + log_width) / math.log(2)
