"""Whether a fitted VAE is better than probabilistic PCA, by log p(x) of rows that neither was trained on."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pyro_vae._checks import InputError
from pyro_vae.baselines import PPCA
from pyro_vae.baselines._gaussian import Array
from pyro_vae.estimator.moments import moments

__all__ = ["PPCAComparison", "compare_with_ppca"]


class PPCAComparison(NamedTuple):
    """Mean log p(x) of the validation rows, nats per example.

    The VAE's are those of importance sampling, a lower bound in expectation, of the epoch that these rows chose.
    """

    vae: float
    ppca: float
    difference: float
    """vae - ppca."""
    difference_se: float
    """Standard error of the difference over rows, NaN of a single row."""
    num_rows: int
    n_components: int
    """Of PPCA: that of the VAE, or fewer where the training rows have no higher rank."""


def compare_with_ppca(
    rows: Array,
    validation: NDArray[np.bool_],
    log_prob: Array,
    n_components: int,
    is_continuous: bool,
) -> PPCAComparison | None:
    """Compare on the validation rows with PPCA of the training rows' standardized columns.

    log p_PPCA(x) = log p(u) - sum_j log s_j with u_j = (x_j - m_j) / s_j, so that units do not matter.

    Args:
        rows: All rows, shape (N, D).
        validation: Whether each row was held out, boolean, shape (N,).
        log_prob: log p(x) of all rows by the VAE, shape (N,), nats.
        n_components: Size of z.
        is_continuous: Whether p(x) is a density of all columns; probabilities cannot be compared with one.

    Returns:
        None if there is nothing to compare.

    Warns:
        UserWarning: If PPCA is better by more than two standard errors.
    """
    if not is_continuous or not validation.any():
        return None
    by_ppca = _ppca(rows[~validation], rows[validation], n_components)
    if by_ppca is None:
        return None
    exact, size = by_ppca
    difference = log_prob[validation] - exact
    count = len(difference)
    se = float(difference.std(ddof=1) / np.sqrt(count)) if count > 1 else float("nan")
    mean = float(difference.mean())
    result = PPCAComparison(float(log_prob[validation].mean()), float(exact.mean()), mean, se, count, size)
    if mean < -2 * se:
        warnings.warn(
            f"PPCA of {size} components has a higher log p(x) of the {count} validation rows: {result.ppca:.2f} nats "
            f"per example, {result.vae:.2f} by this VAE (difference {-mean:.2f}, standard error {se:.2f}). Use "
            "`pyro_vae.baselines.PPCA`, or try another n_components, more epochs or another likelihood.",
            stacklevel=3,
        )
    return result


def _ppca(train: Array, rows: Array, n_components: int) -> tuple[Array, int] | None:
    """Return log p of the rows by the largest PPCA of at most `n_components` that can be fitted, and its size."""
    mean, std = moments(train)
    if not (std > 0).all():
        return None
    rank = np.linalg.matrix_rank(np.nan_to_num((train - mean) / std))
    size = min(n_components, int(rank) - 1)
    try:
        ppca = PPCA(size).fit((train - mean) / std)
    except InputError:
        return None
    units = np.where(np.isnan(rows), 0.0, np.log(std)).sum(axis=1)
    return ppca.score_samples((rows - mean) / std) - units, size
