"""The exact E- and M-step of a low-rank Gaussian on rows with missing values, over blocks of equal patterns."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from pyro_vae.baselines._gaussian import Array, LowRankGaussian
from pyro_vae.baselines._missing_values import Block, Groups, Incomplete, Indices

# Added to the normal equations: those of a column that is missing in all rows of a cluster would be zero. In all other
# equations the addition is below rounding.
RIDGE = 1e-200


class Posterior(NamedTuple):
    """p(z given the observed part of x) of a block; the precision of z is M / σ².

    `loc` (p, m, q); `inverse` M⁻¹ (p, q, q); `log_det` log|M| (p,); `explained` yᵀ M⁻¹ y (p, m).
    """

    loc: Array
    inverse: Array
    log_det: Array
    explained: Array


class Loadings:
    """W (q, D), an offset mu (D,) and σ², with precomputed sums of W Wᵀ and W mu over each group of columns."""

    def __init__(self, components: Array, offset: Array, noise_variance: float, columns: Groups) -> None:
        self.components, self.noise_variance = components, noise_variance
        q, count = len(components), len(columns.first)
        self.gram = np.zeros((count, q * q))
        self.shift = np.zeros((count, q))
        self.offset = offset
        self.squares = np.bincount(columns.inverse, offset**2)
        self.sizes = np.bincount(columns.inverse).astype(np.float64)
        for groups, members in columns.by_size():
            part = components.T[members]
            self.gram[groups] = (part.swapaxes(1, 2) @ part).reshape(len(groups), self.gram.shape[1])
            self.shift[groups] = (part * offset[members][..., None]).sum(axis=1)

    def posterior(self, block: Block) -> Posterior:
        """The E-step of one block: M = σ² I + W_o W_oᵀ, y = W_o (x_o - mu_o), over the observed columns o."""
        q = len(self.components)
        precision = (block.observed @ self.gram).reshape(len(block.observed), q, q)
        precision += self.noise_variance * np.eye(q)
        y = block.values.reshape(-1, block.values.shape[-1]) @ self.components.T
        y = y.reshape(*block.rows.shape, q) - (block.observed @ self.shift)[:, None]
        inverse = np.linalg.inv(precision)
        loc = y @ inverse
        loc += (y - loc @ precision) @ inverse
        # The error of this form is quadratic in the error of loc; that of y . loc is linear.
        explained = np.einsum("pmq,pmq->pm", 2 * y - loc @ precision, loc)
        return Posterior(loc, inverse, np.linalg.slogdet(precision)[1], explained)

    def distances(self, block: Block) -> Array:
        """|x_o - mu_o|², shape (p, m)."""
        about_zero = np.einsum("pmd,pmd->pm", block.values, block.values)
        return about_zero - 2 * block.values @ self.offset + (block.observed @ self.squares)[:, None]

    def log_prob(self, block: Block, posterior: Posterior, squares: Array) -> Array:
        """Log p(x_o) in nats, shape (p, m); `squares` is |x_o - mu_o|², broadcastable to (p, m).

        -1/2 (n_o log 2π + (n_o - q) log σ² + log|M| + (|x_o - mu_o|² - yᵀ M⁻¹ y) / σ²) with n_o observed
        values.
        """
        observed = (block.observed @ self.sizes)[:, None]
        log_noise = (observed - len(self.components)) * math.log(self.noise_variance)
        distance = (squares - posterior.explained) / self.noise_variance
        return -0.5 * (observed * math.log(2 * math.pi) + log_noise + posterior.log_det[:, None] + distance)


class Conditioned(NamedTuple):
    """Distributions given the observed values x_o of some rows, with positions `rows` (p, m) in the data.

    `loc` E[z given x_o] (p, m, q); `covariance` of z given x_o (p, q, q), one for each pattern of missing
    values; `log_prob` log p(x_o) in nats (p, m), zero for a row without any value.
    """

    rows: Indices
    loc: Array
    covariance: Array
    log_prob: Array


def condition(gaussian: LowRankGaussian, x: Array) -> Iterator[Conditioned]:
    """Condition on the observed values of rows x (N, D), NaN where one is missing, block by block.

    Columns are divided by their noise scale, so that Ψ is the identity; log p(x_o) is corrected by the log of the
    scales.
    """
    one_noise = len(gaussian.noise_variance) == 1
    scale = np.ones_like(gaussian.mean) if one_noise else np.sqrt(gaussian.noise_variance)
    variance = float(gaussian.noise_variance[0]) if one_noise else 1.0
    data = Incomplete(x / scale, gaussian.mean / scale, len(gaussian.components))
    loadings = Loadings(gaussian.components / scale, np.zeros_like(scale), variance, data.columns)
    units = np.bincount(data.columns.inverse, np.log(scale))
    for block in data.blocks():
        posterior = loadings.posterior(block)
        log_prob = loadings.log_prob(block, posterior, loadings.distances(block))
        log_prob -= (block.observed @ units)[:, None]
        yield Conditioned(block.rows, posterior.loc, variance * posterior.inverse, log_prob)


class Maximized(NamedTuple):
    """An M-step: W (q, D), mu (D,) and, for each column, the part of Σ x² that they explain (D,)."""

    components: Array
    offset: Array
    explained: Array


class Statistics:
    """E[z̃ z̃ᵀ] with z̃ = (z, 1), summed over the rows that have each group of columns, and Σ x z̃ᵀ over rows.

    Args:
        columns: D columns in groups that are missing in the same rows.
        q: The latent size.
    """

    def __init__(self, columns: Groups, q: int) -> None:
        self.columns, self.q = columns, q
        self.outer = np.zeros((len(columns.first), (q + 1) ** 2))
        self.cross = np.zeros((len(columns.inverse), q + 1))
        self.latent = np.zeros((q + 1, q + 1))

    def add(
        self, block: Block, posterior: Posterior, noise_variance: float, weights: Array | None = None
    ) -> None:
        """Add one block; each row has a weight, shape (p, m), or weight one."""
        loc, q = posterior.loc, self.q
        z = np.concatenate([loc, np.ones((*loc.shape[:2], 1))], axis=2)
        weighted = z if weights is None else z * weights[..., None]
        outer = weighted.swapaxes(1, 2) @ z
        outer[:, :q, :q] += outer[:, q, q][:, None, None] * noise_variance * posterior.inverse
        self.outer += block.observed.T @ outer.reshape(len(outer), -1)
        self.latent += outer.sum(axis=0)
        values = block.values.reshape(-1, len(self.cross))
        self.cross += values.T @ weighted.reshape(block.rows.size, q + 1)

    def maximize(self) -> Maximized:
        """The M-step: one regression on (z, 1) for each column, over the rows in which it is observed.

        Parameter expansion (PX-EM) also fits z ~ N(a, L Lᵀ), then absorbs a and L into mu and W: with little noise,
        plain EM needs many steps to change the scale of W.
        """
        weights, normal = np.empty_like(self.cross), self._normal()
        for groups, members in self.columns.by_size():
            solution = np.linalg.solve(normal[groups], self.cross[members].swapaxes(1, 2))
            weights[members] = solution.swapaxes(1, 2)
        loc = self.latent[:-1, -1] / self.latent[-1, -1]
        scale = np.linalg.cholesky(self.latent[:-1, :-1] / self.latent[-1, -1] - np.outer(loc, loc))
        explained = np.einsum("dq,dq->d", weights, 2 * self.cross - self.fitted(weights))
        return Maximized(scale.T @ weights[:, :-1].T, weights[:, -1] + weights[:, :-1] @ loc, explained)

    def fitted(self, weights: Array) -> Array:
        """Σ (z̃ · w_d) z̃ᵀ over the rows in which column d is observed, for weights (D, q + 1), shape (D, q + 1)."""
        fitted, normal = np.empty_like(self.cross), self._normal()
        for groups, members in self.columns.by_size():
            fitted[members] = weights[members] @ normal[groups]
        return fitted

    def _normal(self) -> Array:
        size = self.q + 1
        return self.outer.reshape(-1, size, size) + RIDGE * np.eye(size)
