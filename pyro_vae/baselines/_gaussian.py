"""The Gaussian all baselines share: a low-rank covariance plus diagonal noise, never written out as D x D."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]

# Values in a block of rows: 1 MiB of float64, so that what is centred is still in the cache when it is
# multiplied.
BLOCK = 2**19


def row_blocks(num_rows: int, width: int) -> Iterator[slice]:
    """Yield slices that cover `num_rows` rows of `width` values in blocks that fit in the cache."""
    step = max(1, BLOCK // max(width, 1))
    return (slice(start, start + step) for start in range(0, num_rows, step))


@dataclass(frozen=True)
class LowRankGaussian:
    """N(mean, Wᵀ W + diag(noise_variance)), or a stack of K of them, by Woodbury and the determinant lemma.

    With x = z W + mean + noise and z ~ N(0, I_q), the posterior of z has the precision M = I + W Ψ⁻¹ Wᵀ, and

        log p(x) = -1/2 (D log 2π + log|Ψ| + log|M| + rᵀ Ψ⁻¹ r - yᵀ M⁻¹ y),  r = x - mean,  y = W Ψ⁻¹ r.

    Args:
        mean: Shape (D,) or (K, D).
        components: W, shape (q, D) or (K, q, D).
        noise_variance: The diagonal of Ψ, shape (D,) or (K, D), or (1,) or (K, 1) where it is the same for
        all D.
    """

    mean: Array
    components: Array
    noise_variance: Array

    def __getitem__(self, index: Any) -> LowRankGaussian:
        """One or some Gaussians of a stack."""
        return LowRankGaussian(self.mean[index], self.components[index], self.noise_variance[index])

    @cached_property
    def weighted(self) -> Array:
        """W Ψ⁻¹, shape (..., q, D)."""
        return self.components / self.noise_variance[..., None, :]

    @cached_property
    def posterior_precision(self) -> Array:
        """M, shape (..., q, q)."""
        return np.eye(self.components.shape[-2]) + self.weighted @ self.components.swapaxes(-1, -2)

    @cached_property
    def posterior_covariance(self) -> Array:
        """M⁻¹, shape (..., q, q): the posterior's covariance, the same for every row."""
        return np.linalg.inv(self.posterior_precision)

    @cached_property
    def log_normalizer(self) -> Array:
        """-1/2 (D log 2π + log|Ψ| + log|M|) in nats, shape (...)."""
        size = self.mean.shape[-1]
        log_noise = size * np.log(self.noise_variance).mean(-1)
        return -0.5 * (
            size * math.log(2 * math.pi) + log_noise + np.linalg.slogdet(self.posterior_precision)[1]
        )

    def infer(self, x: Array) -> tuple[Array, Array, Array]:
        """The E-step for rows x of shape (n, D): residuals r (..., n, D), posterior means (..., n, q), log p(x)."""
        residual = x - self.mean[..., None, :]
        information = residual @ self.weighted.swapaxes(-1, -2)
        loc = information @ self.posterior_covariance
        squares = np.einsum("...d,...d->...", residual, residual / self.noise_variance[..., None, :])
        distance = squares - np.einsum("...q,...q->...", information, loc)
        return residual, loc, self.log_normalizer[..., None] - 0.5 * distance

    def log_prob(self, x: Array) -> Array:
        """Log p(x) of rows of shape (N, D), in nats, shape (..., N)."""
        out = np.empty((*self.mean.shape[:-1], len(x)))
        for rows in row_blocks(len(x), self.mean.shape[-1]):
            out[..., rows] = self.infer(x[rows])[2]
        return out

    def posterior_mean(self, x: Array) -> Array:
        """E[z given x] of rows of shape (N, D), shape (..., N, q)."""
        gain = (self.posterior_covariance @ self.weighted).swapaxes(-1, -2)
        out = np.empty((*self.mean.shape[:-1], len(x), gain.shape[-1]))
        for rows in row_blocks(len(x), self.mean.shape[-1]):
            out[..., rows, :] = (x[rows] - self.mean[..., None, :]) @ gain
        return out

    def sample(self, num_samples: int, random_state: np.random.RandomState) -> Array:
        """Draw rows, shape (num_samples, D), from a single Gaussian."""
        z = random_state.standard_normal((num_samples, len(self.components)))
        noise = random_state.standard_normal((num_samples, len(self.mean)))
        return z @ self.components + self.mean + np.sqrt(self.noise_variance) * noise

    def covariance(self) -> Array:
        """Wᵀ W + Ψ, written out, shape (..., D, D)."""
        return self.components.swapaxes(-1, -2) @ self.components + self._diagonal(self.noise_variance)

    def precision(self) -> Array:
        """(Wᵀ W + Ψ)⁻¹, written out, shape (..., D, D)."""
        explained = self.weighted.swapaxes(-1, -2) @ self.posterior_covariance @ self.weighted
        return self._diagonal(1 / self.noise_variance) - explained

    def _diagonal(self, values: Array) -> Array:
        return np.eye(self.mean.shape[-1]) * values[..., None, :]


def principal_axes(components: Array) -> Array:
    """W (..., q, D) turned to its principal axes, longest first, which leaves Wᵀ W as it is.

    There M is diagonal, or nearly, and so is well inverted however unequal the axes are. Each axis has its
    largest entry positive, so that results do not depend on LAPACK.
    """
    _, lengths, axes = np.linalg.svd(components, full_matrices=False)
    return lengths[..., None] * fixed_signs(axes)


def fixed_signs(axes: Array) -> Array:
    """`axes` of shape (..., q, D), each with its largest entry positive."""
    largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=-1)[..., None], axis=-1)
    return axes * np.where(largest < 0, -1.0, 1.0)
