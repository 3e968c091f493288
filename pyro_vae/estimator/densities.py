"""log p(x) and posterior means of rows, with the same noise for every row, in double precision."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pyro
import torch
from torch import Tensor, nn

from pyro_vae.baselines._gaussian import Array
from pyro_vae.estimator.shared_noise import shared_draws
from pyro_vae.guides import AmortizedGuide
from pyro_vae.models.generative import GenerativeModel

__all__ = ["expectations", "log_prob_of_rows", "posterior_means"]

ENTRIES = 2**21
"""Entries of one layer, over rows and samples, that are computed at once: 16 MiB."""


def log_prob_of_rows(
    model: GenerativeModel, guide: AmortizedGuide, rows: Array, num_samples: int, seed: int
) -> Array:
    """Estimate log p(x) of each row as log((1 / K) sum_k w_k) (Burda et al. 2016, eq. 8).

    With w_k = p(x | z_k) p(z_k) / q(z_k | x), z_k ~ q(z | x). The K draws of the noise behind z are the same for all
    rows: the estimate is a function of the row and the seed alone, continuous where the densities are.

    Args:
        model: With a site "z" and a likelihood.
        guide: Of that site.
        rows: Shape (N, D).
        num_samples: K.
        seed: Of the noise; the random state is put back.

    Returns:
        Shape (N,), nats.
    """

    def estimate(x: Tensor) -> Tensor:
        log_weights, _ = _weighted(model, guide, x, num_samples)
        return log_weights.logsumexp(0) - math.log(num_samples)

    return _in_blocks(estimate, rows, num_samples * _widest(model, guide), seed)


def expectations(
    model: GenerativeModel, guide: AmortizedGuide, rows: Array, num_samples: int, seed: int
) -> Array:
    """Estimate E[x | observed entries of x] (Mattei & Frellsen 2019, eq. 10-12), shape (N, D); arguments as above.

    The mean of p(x | z_k), weighted by w_k / sum_k w_k; of a column with levels the number of the most probable one,
    whose probabilities are weighted likewise. NaN marks what is not observed.
    """

    def estimate(x: Tensor) -> Tensor:
        log_weights, likelihood = _weighted(model, guide, x, num_samples)
        weights = log_weights.softmax(0).unsqueeze(-1)
        expected = (weights * likelihood.mean).sum(0)
        for j, column in enumerate(getattr(model.likelihood, "columns", ())):
            if column.levels:
                expected[:, j] = _most_probable(likelihood, weights, x, j, len(column.levels))
        return expected

    return _in_blocks(estimate, rows, num_samples * _widest(model, guide), seed)


def posterior_means(guide: AmortizedGuide, rows: Array, num_samples: int, seed: int) -> Array:
    """Return E_q[z] of rows (N, D), shape (N, latent_dim): exact where the family has a formula for it.

    Otherwise the mean of `num_samples` draws, whose noise is the same for all rows.
    """

    def estimate(x: Tensor) -> Tensor:
        posterior = guide.posterior(x)
        try:
            mean: Tensor = posterior.mean
        except NotImplementedError:
            mean = shared_draws(posterior, num_samples).mean(0)
        return mean

    return _in_blocks(estimate, rows, num_samples * _widest(guide), seed)


def _most_probable(likelihood: Any, weights: Tensor, x: Tensor, place: int, count: int) -> Tensor:
    """Return the number of the most probable of the levels of one column, shape (N,), for weights (K, N, 1)."""
    chances = []
    for level in range(count):
        value = x.clone()
        value[:, place] = level
        chances.append((weights[..., 0] * likelihood.cell_log_prob(value)[..., place].exp()).sum(0))
    return torch.stack(chances).argmax(0).to(x.dtype)


def _weighted(
    model: GenerativeModel, guide: AmortizedGuide, x: Tensor, num_samples: int
) -> tuple[Tensor, Any]:
    """Return log w_k, shape (K, N), and p(x | z_k), of batch shape (K, N)."""
    posterior = guide.posterior(x)
    z = shared_draws(posterior, num_samples)
    likelihood = model.likelihood(model.decoder(z))
    log_joint = likelihood.log_prob(x) + model.prior().log_prob(z)
    return log_joint - posterior.log_prob(z), likelihood


def _in_blocks(function: Callable[[Tensor], Tensor], rows: Array, entries: int, seed: int) -> Array:
    """Return the function of each row, block by block, each under the same noise."""
    parts = []
    with torch.no_grad(), torch.random.fork_rng(devices=[]), pyro.validation_enabled(False):
        for block in torch.from_numpy(np.array(rows)).split(max(1, ENTRIES // entries)):
            torch.manual_seed(seed)
            parts.append(function(block))
    return np.asarray(torch.cat(parts).numpy())


def _widest(*programs: nn.Module) -> int:
    """Return the largest number of outputs of a layer of the programs."""
    return max((max(p.shape) for program in programs for p in program.parameters() if p.ndim), default=1)
