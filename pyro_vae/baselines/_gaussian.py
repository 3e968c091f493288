"""The Gaussian of all baselines: low-rank covariance plus diagonal noise, without forming a D x D matrix."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]

# Values in a block of rows: 1 MiB of float64, so that centred values are still in the cache when they are multiplied.
BLOCK = 2**19


def row_blocks(num_rows: int, width: int) -> Iterator[slice]:
    """Yield slices that cover `num_rows` rows of `width` values in blocks that fit in the cache."""
    step = max(1, BLOCK // max(width, 1))
    return (slice(start, start + step) for start in range(0, num_rows, step))


@dataclass(frozen=True)
class LowRankGaussian:
    """N(mean, Wᵀ W + diag(noise_variance)) by Woodbury and the determinant lemma.

    With x = z W + mean + noise and z ~ N(0, I_q), the posterior of z has the precision M = I + W Ψ⁻¹ Wᵀ, and

        log p(x) = -1/2 (D log 2π + log|Ψ| + log|M| + rᵀ Ψ⁻¹ r - yᵀ M⁻¹ y),  r = x - mean,  y = W Ψ⁻¹ r.

    Args:
        mean: Shape (D,).
        components: W, shape (q, D).
        noise_variance: The diagonal of Ψ, shape (D,), or (1,) where it is the same for all D.
    """

    mean: Array
    components: Array
    noise_variance: Array

    @cached_property
    def weighted(self) -> Array:
        """W Ψ⁻¹, shape (q, D)."""
        return self.components / self.noise_variance

    @cached_property
    def posterior_precision(self) -> Array:
        """M, shape (q, q)."""
        return np.eye(len(self.components)) + self.weighted @ self.components.T

    @cached_property
    def posterior_covariance(self) -> Array:
        """M⁻¹, shape (q, q): the posterior's covariance, the same for every row."""
        return np.linalg.inv(self.posterior_precision)

    @cached_property
    def log_normalizer(self) -> float:
        """-1/2 (D log 2π + log|Ψ| + log|M|) in nats."""
        log_det = np.linalg.slogdet(self.posterior_precision)[1]
        return float(-0.5 * (len(self.mean) * np.log(2 * math.pi * self.noise_variance).mean() + log_det))

    def log_prob(self, x: Array) -> Array:
        """Log p(x) of rows of shape (N, D), in nats, shape (N,)."""
        out = np.empty(len(x))
        for rows in row_blocks(*x.shape):
            residual = x[rows] - self.mean
            information = residual @ self.weighted.T
            squares = self._weighted_squares(residual)
            explained = np.einsum("nq,nq->n", information, information @ self.posterior_covariance)
            out[rows] = self.log_normalizer - 0.5 * (squares - explained)
        return out

    def _weighted_squares(self, residual: Array) -> Array:
        """Diagonal of r Ψ⁻¹ rᵀ for residuals r (n, D), shape (n,)."""
        if len(self.noise_variance) == 1:  # saves a pass over the residuals
            return np.einsum("nd,nd->n", residual, residual) / self.noise_variance
        return np.einsum("nd,nd->n", residual, residual / self.noise_variance)

    def posterior_mean(self, x: Array) -> Array:
        """E[z given x] of rows of shape (N, D), shape (N, q)."""
        gain = self.weighted.T @ self.posterior_covariance
        out = np.empty((len(x), gain.shape[1]))
        for rows in row_blocks(*x.shape):
            out[rows] = (x[rows] - self.mean) @ gain
        return out

    def sample(self, num_samples: int, random_state: np.random.RandomState) -> Array:
        """Draw rows, shape (num_samples, D)."""
        z = random_state.standard_normal((num_samples, len(self.components)))
        noise = random_state.standard_normal((num_samples, len(self.mean)))
        return z @ self.components + self.mean + np.sqrt(self.noise_variance) * noise

    def covariance(self) -> Array:
        """Wᵀ W + Ψ as a matrix, shape (D, D)."""
        return self.components.T @ self.components + np.eye(len(self.mean)) * self.noise_variance

    def precision(self) -> Array:
        """(Wᵀ W + Ψ)⁻¹ as a matrix, shape (D, D)."""
        explained = self.weighted.T @ self.posterior_covariance @ self.weighted
        return np.eye(len(self.mean)) / self.noise_variance - explained


def principal_axes(components: Array) -> Array:
    """Return W (..., q, D) rotated to its principal axes, longest first; Wᵀ W is unchanged.

    On these axes M is (nearly) diagonal, so its inverse is accurate even if their lengths differ greatly. The largest
    entry of each axis is positive, so that results do not depend on LAPACK.
    """
    _, lengths, axes = np.linalg.svd(components, full_matrices=False)
    return lengths[..., None] * fixed_signs(axes)


def fixed_signs(axes: Array) -> Array:
    """`axes` of shape (..., q, D), each with its largest entry positive."""
    largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=-1)[..., None], axis=-1)
    return axes * np.where(largest < 0, -1.0, 1.0)
