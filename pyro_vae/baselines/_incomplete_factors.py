"""The exact EM step of factor analysis on rows with missing values."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from scipy.optimize import Bounds

from pyro_vae.baselines._em import Run, run_to_convergence
from pyro_vae.baselines._gaussian import Array
from pyro_vae.baselines._incomplete_gaussian import Loadings, Statistics
from pyro_vae.baselines._missing_values import Incomplete
from pyro_vae.baselines._rows import check_each_variance


class IncompleteFactors:
    """Rows centred on their column means, and the EM step on (W, mu, log Ψ) as one vector.

    The E-step is that of `PPCAEM` in units of the noise of each column, where Ψ is the identity; the M-step is one
    regression on (z, 1) for each column over the rows in which it is observed, and Ψ the mean squared residuals.

    Args:
        X: Shape (N, D), NaN where a value is missing.
        q: The latent size.
        share: The smallest noise variance as a share of its column's variance.
    """

    def __init__(self, X: Array, q: int, share: float) -> None:
        with np.errstate(over="ignore", invalid="ignore"):
            self.mean, self.q = np.nanmean(X, axis=0), q
            variances = np.nanvar(X, axis=0)
        check_each_variance(X, variances)
        self.variances = np.where(variances > 0, variances, variances[variances > 0].min())
        self.floor = share * self.variances
        self.data = Incomplete(X, self.mean, q)
        self.blocks = list(self.data.blocks())
        self.counts = self.data.mask.sum(axis=0).astype(np.float64)
        self.squares = sum(np.einsum("pmd,pmd->d", block.values, block.values) for block in self.blocks)

    def starts(self, number: int, rng: np.random.RandomState) -> Iterator[Array]:
        """Yield starts: W from random combinations of the rows; the noise variances are those of the columns."""
        for _ in range(number):
            components = np.zeros((self.q, len(self.mean)))
            for block in self.blocks:
                weights = rng.standard_normal((self.q, block.rows.size))
                components += weights @ block.values.reshape(block.rows.size, -1)
            components /= math.sqrt(len(self.data.x) * max(self.q, 1))
            yield self.pack(components, np.zeros_like(self.mean), self.variances)

    def pack(self, components: Array, offset: Array, noise_variance: Array) -> Array:
        """(W, mu, log Ψ) as one vector."""
        return np.concatenate([components.ravel(), offset, np.log(noise_variance)])

    def unpack(self, theta: Array) -> tuple[Array, Array, Array]:
        """W (q, D), mu (D,) relative to the column means, Ψ (D,) clipped to its bounds."""
        size = len(self.mean)
        noise = np.exp(np.clip(theta[-size:], np.log(self.floor), np.log(10 * self.variances)))
        return theta[: self.q * size].reshape(self.q, size), theta[-2 * size : -size], noise

    def step(self, theta: Array) -> tuple[Array, float]:
        """The EM update of theta, and the log-likelihood at theta in nats per example."""
        _, _, noise = self.unpack(theta)
        rotation, statistics, loglike = self._e_step(theta)
        update, scale = statistics.maximize(), np.sqrt(noise)
        residual = np.maximum((self.squares - noise * update.explained) / self.counts, self.floor)
        return self.pack(rotation @ update.components * scale, update.offset * scale, residual), loglike

    def gradient(self, theta: Array) -> tuple[float, Array]:
        """The log-likelihood at theta in nats per example, and its gradient in (W, mu, log Ψ).

        By Fisher's identity the gradient is that of the expected complete log-likelihood at its own posterior.
        """
        components, offset, noise = self.unpack(theta)
        rotation, statistics, loglike = self._e_step(theta)
        scale = np.sqrt(noise)
        weights = np.column_stack([(rotation.T @ components / scale).T, offset / scale])
        error = statistics.cross - statistics.fitted(weights)
        residual = self.squares / noise - np.einsum("dq,dq->d", weights, statistics.cross + error)
        slope = np.concatenate(
            [
                (rotation @ error[:, :-1].T / scale).ravel(),
                error[:, -1] / scale,
                (residual - self.counts) / 2,
            ]
        )
        return loglike, slope / len(self.data.x)

    def _e_step(self, theta: Array) -> tuple[Array, Statistics, float]:
        """Rotation (q, q) of W in units of the noise to its principal axes, sums over rows, and log-likelihood."""
        components, offset, noise = self.unpack(theta)
        scale = np.sqrt(noise)
        # On the principal axes the posterior precision is diagonal if nothing is missing.
        rotation, lengths, axes = np.linalg.svd(components / scale, full_matrices=False)
        loadings = Loadings(lengths[:, None] * axes, offset / scale, 1.0, self.data.columns)
        statistics = Statistics(self.data.columns, self.q)
        distance = ((self.squares + self.counts * offset**2) / noise).sum()
        loglike = -0.5 * float(self.counts @ np.log(noise) + distance)
        for block in self.blocks:
            scaled = block._replace(values=block.values / scale)
            posterior = loadings.posterior(scaled)
            statistics.add(scaled, posterior, 1.0)
            loglike += float(loadings.log_prob(scaled, posterior, np.zeros((1, 1))).sum())
        return rotation, statistics, loglike / len(self.data.x)

    def fit(self, start: Array, tol: float, max_iter: int) -> Run[Array]:
        """Maximise from a start by EM, then by L-BFGS-B within the bounds of Ψ."""
        free = np.full(len(start) - len(self.floor), np.inf)
        bounds = Bounds(
            np.concatenate([-free, np.log(self.floor)]), np.concatenate([free, np.log(10 * self.variances)])
        )
        return run_to_convergence(self.step, self.gradient, start, bounds, tol=tol, max_iter=max_iter)
