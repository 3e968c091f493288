"""The tail index of importance weights, as in Pareto-smoothed importance sampling."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["pareto_khat", "tail_length"]

SHORTEST_TAIL = 5
"""Minimum number of points for the fit; k-hat is NaN otherwise."""
ENTRIES_AT_ONCE = 2**17
"""Maximum numbers in memory for the fit of a block of rows (1 MB)."""


def tail_length(num_samples: int) -> int:
    """Return the number of tail weights out of K, `ceil(min(K / 5, 3 sqrt(K)))` (Vehtari et al. 2024)."""
    return math.ceil(min(num_samples / 5, 3 * math.sqrt(num_samples)))


def pareto_khat(largest: Tensor) -> Tensor:
    """Return the Pareto tail index k-hat of each row's importance weights, shape (N,); NaN for too short a tail.

    A generalised Pareto distribution is fitted to the excesses of the largest weights over the next one. A k-hat of
    1/2 or more means that the weights have no finite variance, above 0.7 that the estimate is unreliable at any
    affordable number of samples (Vehtari et al. 2024). Values equal those of ArviZ's `psislw` on all weights.

    Args:
        largest: The `tail_length(K) + 1` largest log weights of each row in descending order, shape
            (N, tail_length(K) + 1), float64, nats. The last is the threshold of the tail.
    """
    relative = largest - largest[:, :1]
    threshold = relative[:, -1:].clamp_min(math.log(torch.finfo(torch.float64).tiny))
    # Weights equal to the threshold are not part of the tail, so tails differ in length.
    lengths = (relative > threshold).sum(1)
    khat = torch.full_like(largest[:, 0], math.nan)
    for length in lengths.unique().tolist():
        if length >= SHORTEST_TAIL:
            rows = lengths == length
            excess = (relative[rows, :length].exp() - threshold[rows].exp()).flip(1)
            khat[rows] = _generalised_pareto_shape(excess)
    return khat


def _generalised_pareto_shape(excess: Tensor) -> Tensor:
    """Return the shape k of generalised Pareto distributions, shape (N,), from ascending points (N, n)."""
    length = excess.shape[1]
    block = max(1, ENTRIES_AT_ONCE // (length * _grid_size(length)))
    return torch.cat([_shape_of_block(rows) for rows in excess.split(block)])


def _grid_size(length: int) -> int:
    return 30 + math.isqrt(length)


def _shape_of_block(excess: Tensor) -> Tensor:
    """Fit by the posterior mean of b = -k / sigma over a grid (Zhang & Stephens 2009)."""
    length, grid_size = excess.shape[1], _grid_size(excess.shape[1])
    quartile, largest = excess[:, int(length / 4 + 0.5) - 1, None], excess[:, -1:]
    steps = torch.arange(grid_size, dtype=excess.dtype, device=excess.device) + 0.5
    b = 1 / largest + (1 - (grid_size / steps).sqrt()) / (3 * quartile)
    k = _shape_given(b, excess)
    profile = length * ((-b / k).log() - k - 1)  # log likelihood at the best k for each b
    posterior = (b * profile.softmax(1)).sum(1, keepdim=True)
    # A weak prior shrinks k towards 1/2, with the weight of ten points (Vehtari et al. 2024).
    return (length * _shape_given(posterior, excess).squeeze(1) + 10 * 0.5) / (length + 10)


def _shape_given(b: Tensor, excess: Tensor) -> Tensor:
    return torch.log1p(-b.unsqueeze(2) * excess.unsqueeze(1)).mean(2)
