"""log p(x), ELBO, posterior means and imputations of rows, by noise that a row shares with all, in double precision."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyro
import torch
from torch import Tensor, nn

from pyro_vae.baselines._gaussian import Array
from pyro_vae.estimator.shared_noise import shared_draws
from pyro_vae.evaluate._weighted_imputation import Imputation, impute_from_runs
from pyro_vae.evaluate._weighted_runs import WeightedRun
from pyro_vae.guides import AmortizedGuide
from pyro_vae.models.generative import GenerativeModel
from pyro_vae.seeds import derive_seed

__all__ = ["ESTIMATES", "elbo_of_rows", "impute_rows", "log_prob_of_rows", "posterior_means"]

ENTRIES = 2**21
"""Entries of one layer, over rows and samples, that are computed at once: 16 MiB."""


def log_prob_of_rows(
    model: GenerativeModel, guide: AmortizedGuide, rows: Array, num_samples: int, seed: int
) -> Array:
    """Estimate log p(x) of each row as log((1 / K) sum_k w_k) (Burda et al. 2016, eq. 8).

    With w_k = p(x | z_k) p(z_k) / q(z_k | x), z_k ~ q(z | x). The K draws of the noise of z are the same for all rows:
    the estimate is a function of the row and the seed alone, and continuous if the densities are.

    Args:
        model: A model with a site "z" and a likelihood.
        guide: A guide for that site.
        rows: Shape (N, D).
        num_samples: K.
        seed: Seed of the noise; the random state is restored.

    Returns:
        Shape (N,), nats.
    """

    def estimate(x: Tensor) -> Tensor:
        log_weights, _ = _weighted(model, guide, x, num_samples)
        return log_weights.logsumexp(0) - math.log(num_samples)

    return _in_blocks(estimate, rows, num_samples * _widest(model, guide), seed)


def elbo_of_rows(
    model: GenerativeModel, guide: AmortizedGuide, rows: Array, num_samples: int, seed: int
) -> Array:
    """Estimate the ELBO of each row, E_q[log p(x, z) - log q(z | x)], as (1 / K) sum_k log w_k.

    Arguments, noise and result as of `log_prob_of_rows`; with the same noise no value is larger than its.
    """

    def estimate(x: Tensor) -> Tensor:
        log_weights, _ = _weighted(model, guide, x, num_samples)
        return log_weights.mean(0)

    return _in_blocks(estimate, rows, num_samples * _widest(model, guide), seed)


ESTIMATES = {"log-likelihood": log_prob_of_rows, "elbo": elbo_of_rows}
"""Functions that score rows, by the name that the parameter `estimate` of `VAE` gives them."""


def impute_rows(
    model: GenerativeModel,
    guide: AmortizedGuide,
    rows: Array,
    num_samples: int,
    seed: int,
    num_draws: int = 0,
) -> Imputation:
    """Impute the missing entries of rows, NaN, as `evaluate.impute` does; arguments as above.

    The noise of z is the same for all rows. That of the M draws of a row is a function of its entries and the seed:
    rows are drawn one by one, and rows that are equal have equal draws.
    """
    x = torch.from_numpy(np.array(rows))
    columns = getattr(model.likelihood, "columns", None)
    levels = torch.tensor([0] * x.shape[1] if columns is None else [len(column.levels) for column in columns])
    incomplete = x[x.isnan().any(1)]
    size = 1 if num_draws else max(1, ENTRIES // (num_samples * _widest(model, guide)))

    def blocks() -> Iterator[tuple[slice, list[WeightedRun]]]:
        for start in range(0, len(incomplete), size):
            block = incomplete[start : start + size]
            torch.manual_seed(seed)
            log_weights, likelihood = _weighted(model, guide, block, num_samples)
            # Invalid weights count as zero.
            run = WeightedRun(log_weights.nan_to_num(-torch.inf, -torch.inf, -torch.inf), likelihood)
            if num_draws:
                torch.manual_seed(derive_seed(seed, _number_of(block)))
            yield slice(start, start + size), [run]

    with _without_side_effects():
        return impute_from_runs(x, levels, num_draws, blocks())


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
    with _without_side_effects():
        for block in torch.from_numpy(np.array(rows)).split(max(1, ENTRIES // entries)):
            torch.manual_seed(seed)
            parts.append(function(block))
    return np.asarray(torch.cat(parts).numpy())


@contextmanager
def _without_side_effects() -> Iterator[None]:
    """Run without gradients and checks of values; the random state is put back."""
    with torch.no_grad(), torch.random.fork_rng(devices=[]), pyro.validation_enabled(False):
        yield


def _number_of(block: Tensor) -> int:
    """Return a hash of the entries of rows, 64 bits; all NaN are one, as are 0 and -0."""
    entries = np.where(block.isnan(), np.nan, block.numpy() + 0.0)
    return int.from_bytes(hashlib.blake2b(entries.tobytes(), digest_size=8).digest(), "little")


def _widest(*programs: nn.Module) -> int:
    """Return the largest number of outputs of a layer of the programs."""
    return max((max(p.shape) for program in programs for p in program.parameters() if p.ndim), default=1)
