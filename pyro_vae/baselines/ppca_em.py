"""Probabilistic PCA by exact EM, with missing values."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from pyro_vae._checks import check, check_integer, check_positive
from pyro_vae.baselines._base import (
    LinearGaussian,
    check_num_components,
    check_several_rows,
    check_variances,
    read_rows,
)
from pyro_vae.baselines._em import best, climb, squarem
from pyro_vae.baselines._gaussian import Array, principal_axes
from pyro_vae.baselines._missing_values import Block, Groups, Incomplete, Loadings, Posterior

# The noise variance counts as zero below this share of the mean variance of a column: rounding in the M-step.
ZERO_NOISE = 1e-12

# The share of noise to start from. With so little, the first steps rotate W to the leading axes as subspace
# iteration does; from much noise, the weaker axes would first shrink away and have to grow again.
START_NOISE = 1e-6


class PPCAEM(LinearGaussian):
    """The model of `PPCA` fitted by exact EM, O(N D q) an iteration, with NaN read as a value missing at random.

    The E-step conditions on the observed values o of each row alone, so nothing is imputed on the way:

        z given x_o ~ N(M⁻¹ y, σ² M⁻¹),  M = σ² I + W_o W_oᵀ,  y = W_o (x_o - mu_o)

    (Tipping & Bishop 1999, eq. 25-26, on the observed columns). The M-step is one least-squares regression
    on (z, 1) for each column over the rows that have it, which gives W and mu jointly, and σ² as their mean
    squared residual. Rows with the same values missing share M, columns missing in the same rows share
    their normal equations. The steps are accelerated by SQUAREM, which keeps a leap only where the
    log-likelihood does not fall.

    A row without any value adds nothing to the fit, and scores log p = 0; a column without any value is
    refused.

    Args:
        n_components: The latent size q, 0 <= q < min(N - 1, D). None takes the largest, min(N - 1, D) - 1.
        tol: EM stops when four steps together gain less than this, in nats per example.
        max_iter: The largest number of E-steps.
        random_state: For the start, W from random combinations of the rows; as in scikit-learn.

    Attributes:
        components_: W, shape (q, D), along the principal axes of W, longest first.
        mean_: mu, shape (D,).
        noise_variance_: σ², a float, in squared units of x.
        n_components_: The latent size q.
        explained_variance_: Variances of the model along those axes, shape (q,), in squared units of x.
        explained_variance_ratio_: The same as shares of the model's whole variance, shape (q,).
        singular_values_: sqrt(N explained_variance_), shape (q,); without missing values those of the centred rows.
        n_samples_seen_: The number of rows fitted, N.
        loglike_: The log-likelihood of all training rows at each E-step, in nats; it never falls.
        n_iter_: The number of E-steps.
        n_features_in_, feature_names_in_: As in scikit-learn.

    References:
        Tipping & Bishop (1999), Probabilistic principal component analysis, J. R. Statist. Soc. B 61(3).
        Liu, Rubin & Wu (1998), Parameter expansion to accelerate EM: the PX-EM algorithm, Biometrika 85(4).
        Varadhan & Roland (2008), Simple and globally convergent methods for accelerating the convergence of
        any EM algorithm, Scand. J. Statist. 35(2).
    """

    def __init__(
        self,
        n_components: int | None = None,
        *,
        tol: float = 1e-7,
        max_iter: int = 2000,
        random_state: Any = None,
    ) -> None:
        self.n_components = n_components
        self.tol = tol
        self.max_iter = max_iter
        self.random_state = random_state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def fit(self, X: ArrayLike, y: Any = None) -> PPCAEM:
        """Fit rows X of shape (N, D), NaN where a value is missing; y is ignored.

        Raises:
            InputError: On a single row, infinity, a column without values, rows all alike, an n_components
                of min(N - 1, D) or more, or data that so few components explain fully (no noise left).
        """
        tol = check_positive(self.tol, "tol", zero=True)
        max_iter = check_integer(self.max_iter, "max_iter")
        X = read_rows(self, X, reset=True)
        _check_columns(X)
        q = self._latent_size(X.shape)
        problem = _Problem(X, q)
        start = problem.start(check_random_state(self.random_state))
        run = best([climb(squarem(problem.step, start), tol=tol, max_iter=max_iter)], "PPCAEM")
        self.loglike_, self.n_iter_ = [len(X) * value for value in run.history], len(run.history)
        components, offset, self.noise_variance_ = problem.unpack(run.theta)
        self.mean_ = problem.mean + offset
        self.components_ = principal_axes(components)
        self.explained_variance_ = (self.components_**2).sum(axis=1) + self.noise_variance_
        self.n_samples_seen_ = len(X)
        return self

    @property
    def singular_values_(self) -> Array:
        """sqrt(N explained_variance_), shape (q,), descending, in units of x."""
        return np.sqrt(self.n_samples_seen_ * self.explained_variance_)

    def _latent_size(self, shape: tuple[int, int]) -> int:
        # N centred rows span N - 1 dimensions.
        bound = min(shape[0] - 1, shape[1])
        if self.n_components is None:
            return bound - 1
        return check_num_components(self.n_components, shape, bound)

    def _e_step(self, X: Array) -> Iterator[tuple[Block, Posterior, Array]]:
        """Yield blocks of rows, their posteriors and their log p(x_o), shape (p, m)."""
        _check_no_infinity(X)
        data = Incomplete(X, self.mean_, len(self.components_))
        loadings = Loadings(self.components_, np.zeros_like(self.mean_), self.noise_variance_, data.columns)
        for block in data.blocks():
            posterior = loadings.posterior(block)
            squares = np.einsum("pmd,pmd->pm", block.values, block.values)
            yield block, posterior, loadings.log_prob(block, posterior, squares)

    def _log_prob(self, X: Array) -> Array:
        out = np.empty(len(X))
        for block, _, log_prob in self._e_step(X):
            out[block.rows] = log_prob
        return out

    def transform(self, X: ArrayLike) -> Array:
        """E[z given the observed part of x] of rows X of shape (N, D), shape (N, q)."""
        check_is_fitted(self, "components_")
        X = read_rows(self, X)
        out = np.empty((len(X), len(self.components_)))
        for block, posterior, _ in self._e_step(X):
            out[block.rows] = posterior.loc
        return out

    def posterior(self, X: ArrayLike) -> tuple[Array, Array]:
        """p(z given the observed part of x) = N(mean, covariance) of rows X of shape (N, D).

        Returns:
            Its mean, shape (N, q), and its covariance σ² M⁻¹ of each row, shape (N, q, q).
        """
        loc = self.transform(X)
        covariance = np.empty((*loc.shape, loc.shape[1]))
        for block, posterior, _ in self._e_step(read_rows(self, X)):
            covariance[block.rows] = self.noise_variance_ * posterior.inverse[:, None]
        return loc, covariance

    def impute(self, X: ArrayLike) -> Array:
        """Rows X of shape (N, D) with each NaN replaced by its expectation given the observed part of its row."""
        expected = self.inverse_transform(self.transform(X))
        X = read_rows(self, X)
        return np.where(np.isnan(X), expected, X)


class _Problem:
    """The training rows, about the means of their columns, and the EM step on (W, mu, log σ²) as one vector."""

    def __init__(self, X: Array, q: int) -> None:
        with np.errstate(over="ignore", invalid="ignore"):
            self.mean, self.q = np.nanmean(X, axis=0), q
        self.data = Incomplete(X, self.mean, q)
        self.blocks = list(self.data.blocks())
        self.counts = self.data.mask.sum(axis=0).astype(np.float64)
        self.squares = float(sum(np.vdot(block.values, block.values) for block in self.blocks))
        mean_variance = self.squares / self.counts.sum()
        check_variances(X, np.array([mean_variance]))
        self.lowest, self.highest = math.log(ZERO_NOISE * mean_variance), math.log(mean_variance)

    def start(self, rng: np.random.RandomState) -> Array:
        """W from random combinations of the rows, which lean to the leading axes, and little noise."""
        components = np.zeros((self.q, len(self.mean)))
        for block in self.blocks:
            weights = rng.standard_normal((self.q, block.rows.size))
            components += weights @ block.values.reshape(block.rows.size, -1)
        components /= math.sqrt(len(self.data.x) * max(self.q, 1))
        return self.pack(components, np.zeros_like(self.mean), math.exp(self.highest) * START_NOISE)

    def pack(self, components: Array, offset: Array, noise_variance: float) -> Array:
        """(W, mu, log σ²) as one vector."""
        return np.concatenate([components.ravel(), offset, [math.log(noise_variance)]])

    def unpack(self, theta: Array) -> tuple[Array, Array, float]:
        """W (q, D), mu (D,) about the column means, σ²."""
        size = len(self.mean)
        # An extrapolation may have left the bounds of log σ².
        log_noise = min(max(theta[-1], self.lowest), self.highest)
        return theta[: self.q * size].reshape(self.q, size), theta[-1 - size : -1], math.exp(log_noise)

    def step(self, theta: Array) -> tuple[Array, float]:
        """The EM update of theta, and the log-likelihood at theta in nats per example."""
        components, offset, noise_variance = self.unpack(theta)
        # In the principal axes M is nearly diagonal, and so well inverted however unequal the axes are.
        rotation, lengths, axes = np.linalg.svd(components, full_matrices=False)
        loadings = Loadings(lengths[:, None] * axes, offset, noise_variance, self.data.columns)
        statistics = _Statistics(len(self.data.columns.first), self.q, len(self.mean))
        loglike = -0.5 * (self.squares + self.counts @ offset**2) / noise_variance
        for block in self.blocks:
            posterior = loadings.posterior(block)
            statistics.add(block, posterior, noise_variance)
            loglike += float(loadings.log_prob(block, posterior, np.zeros((1, 1))).sum())
        components, offset, residual = statistics.maximize(self.data.columns, self.squares)
        noise_variance = residual / self.counts.sum()
        check(
            noise_variance > ZERO_NOISE * math.exp(self.highest),
            f"Expected n_components below the rank of the data; {self.q} explain it fully, so the noise "
            "variance goes to zero and the density to infinity. Choose fewer.",
        )
        return self.pack(rotation @ components, offset, noise_variance), loglike / len(self.data.x)


class _Statistics:
    """E[z̃ z̃ᵀ] with z̃ = (z, 1), summed over the rows that have each group of columns, and Σ x zᵀ over rows."""

    def __init__(self, num_groups: int, q: int, size: int) -> None:
        self.q = q
        self.outer = np.zeros((num_groups, (q + 1) ** 2))
        self.cross = np.zeros((size, q + 1))
        self.latent = np.zeros((q + 1, q + 1))

    def add(self, block: Block, posterior: Posterior, noise_variance: float) -> None:
        """Take in one block."""
        loc, q = posterior.loc, self.q
        z = np.concatenate([loc, np.ones((*loc.shape[:2], 1))], axis=2)
        outer = z.swapaxes(1, 2) @ z
        outer[:, :q, :q] += loc.shape[1] * noise_variance * posterior.inverse
        self.outer += block.observed.T @ outer.reshape(len(outer), -1)
        self.latent += outer.sum(axis=0)
        # Columns are centred, so Σ x over rows, the last column of Σ x z̃ᵀ, is zero.
        self.cross[:, :q] += block.values.reshape(-1, len(self.cross)).T @ loc.reshape(block.rows.size, q)

    def maximize(self, columns: Groups, squares: float) -> tuple[Array, Array, float]:
        """The M-step: W (q, D), mu (D,), and the sum of squared residuals over all values.

        Parameter expansion (PX-EM) lets z ~ N(a, L Lᵀ) be fitted too, then puts a and L into mu and W: where there
        is little noise, plain EM would need many steps to stretch W.
        """
        weights, fitted = np.empty_like(self.cross), np.empty_like(self.cross)
        normal = self.outer.reshape(-1, self.q + 1, self.q + 1)
        for groups, members in columns.by_size():
            right = self.cross[members].swapaxes(1, 2)
            solution = np.linalg.solve(normal[groups], right)
            weights[members] = solution.swapaxes(1, 2)
            fitted[members] = (normal[groups] @ solution).swapaxes(1, 2)
        loc = self.latent[:-1, -1] / self.latent[-1, -1]
        scale = np.linalg.cholesky(self.latent[:-1, :-1] / self.latent[-1, -1] - np.outer(loc, loc))
        residual = squares - float(np.vdot(weights, 2 * self.cross - fitted))
        return scale.T @ weights[:, :-1].T, weights[:, -1] + weights[:, :-1] @ loc, residual


def _check_columns(X: Array) -> None:
    check_several_rows(len(X))
    _check_no_infinity(X)
    empty = np.flatnonzero(np.isnan(X).all(axis=0))
    check(
        len(empty) == 0,
        f"Expected a value in every column of X; got none in columns {empty[:5].tolist()}. Drop them.",
    )
    varies = np.nanmax(X, axis=0) > np.nanmin(X, axis=0)
    check(bool(varies.any()), "Expected X to vary; got rows that are all alike. Add other rows.")


def _check_no_infinity(X: Array) -> None:
    """Raise where X, in which NaN marks missing values, holds infinity."""
    bad = np.count_nonzero(np.isinf(X))
    check(bad == 0, f"Expected X without infinity; got {bad} infinite values. Mark missing values by NaN.")
