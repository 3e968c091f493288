"""The mixture of low-rank Gaussians behind `MixtureOfPPCA`, and its EM step in one pass over the rows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.special import logsumexp
from sklearn.cluster import KMeans

from pyro_vae._checks import check
from pyro_vae.baselines._gaussian import Array, LowRankGaussian, principal_axes, row_blocks
from pyro_vae.baselines._moments import second_moment
from pyro_vae.baselines._rows import check_variances

# A cluster is empty if its responsibilities sum to less than this many rows. Removing it, with its weight shared among
# the others, changes the log-likelihood by about the square of this.
EMPTY = 1e-6


@dataclass(frozen=True)
class Mixture:
    """Σ_k weight_k N(mean_k, W_kᵀ W_k + σ²_k I), for all k at once by products with rows centred on the overall mean.

    The terms that are subtracted are no larger than the distances between clusters, so ten digits are left even if σ²_k
    is 1e-6 of the data's variance, the default floor.

    Args:
        weights: Shape (K,).
        means: Shape (K, D).
        components: W_k, shape (K, q, D).
        noise_variance: σ²_k, shape (K,).
    """

    weights: Array
    means: Array
    components: Array
    noise_variance: Array

    def local(self, k: int) -> LowRankGaussian:
        """The Gaussian of cluster k."""
        return LowRankGaussian(self.means[k], self.components[k], self.noise_variance[k : k + 1])

    @cached_property
    def centre(self) -> Array:
        """The mean of the mixture, shape (D,)."""
        return self.weights @ self.means

    @cached_property
    def offsets(self) -> Array:
        """The means relative to the centre, shape (K, D)."""
        return self.means - self.centre

    @cached_property
    def weighted(self) -> Array:
        """W_k / σ²_k, shape (K, q, D)."""
        return self.components / self.noise_variance[:, None, None]

    @cached_property
    def posterior_precision(self) -> Array:
        """I + W_k W_kᵀ / σ²_k, shape (K, q, q)."""
        return np.eye(self.components.shape[1]) + self.weighted @ self.components.swapaxes(1, 2)

    @cached_property
    def posterior_covariance(self) -> Array:
        """Its inverse, shape (K, q, q)."""
        return np.linalg.inv(self.posterior_precision)

    @cached_property
    def log_normalizer(self) -> Array:
        """The log of weight_k times the normalizing constant of the Gaussian, in nats, shape (K,)."""
        log_det = np.linalg.slogdet(self.posterior_precision)[1]
        each = np.log(2 * math.pi * self.noise_variance)
        return np.log(self.weights) - 0.5 * (self.means.shape[1] * each + log_det)

    def infer(self, x: Array) -> tuple[Array, Array, Array]:
        """The E-step for rows x of shape (n, D).

        Returns:
            Centred x (n, D), posterior means of z (K, n, q), and log p(x, k) in nats (K, n).
        """
        x = x - self.centre
        clusters, q, size = self.components.shape
        products = (x @ self.weighted.reshape(clusters * q, size).T).reshape(len(x), clusters, q)
        information = products.swapaxes(0, 1) - np.einsum("kqd,kd->kq", self.weighted, self.offsets)[:, None]
        loc = information @ self.posterior_covariance
        squares = np.einsum("nd,nd->n", x, x) - 2 * self.offsets @ x.T
        squares += np.einsum("kd,kd->k", self.offsets, self.offsets)[:, None]
        distance = squares / self.noise_variance[:, None] - np.einsum("knq,knq->kn", information, loc)
        return x, loc, self.log_normalizer[:, None] - 0.5 * distance


class MixtureProblem:
    """The training rows, a start, and the EM step."""

    def __init__(self, X: Array, mean: Array, q: int, num_clusters: int, share: float) -> None:
        self.X, self.q, self.num_clusters = X, q, num_clusters
        diagonal = second_moment(X, mean).diagonal
        check_variances(X, diagonal)
        variance = diagonal.mean()
        check(variance > 0, "Expected X to vary; got rows that are all equal. Add other rows.")
        self.floor = share * variance

    def start(self, rng: np.random.RandomState) -> Mixture:
        """Weights and means by k-means; W and σ² by one PPCA of the rows centred on their cluster's mean."""
        labels = KMeans(self.num_clusters, n_init=1, random_state=rng).fit_predict(self.X)
        _, labels, counts = np.unique(labels, return_inverse=True, return_counts=True)
        means = np.stack([self.X[labels == k].mean(axis=0) for k in range(len(counts))])
        within = second_moment(self.X - means[labels], np.zeros(means.shape[1]))
        values, axes = within.eigenpairs(self.q)
        noise = max((within.diagonal.sum() - values.sum()) / (means.shape[1] - self.q), self.floor)
        components = np.sqrt(np.maximum(values - noise, 0.0))[:, None] * axes
        stacked = np.repeat(components[None], len(counts), axis=0)
        return Mixture(counts / len(labels), means, stacked, np.full(len(counts), noise))

    def step(self, theta: Mixture) -> tuple[Mixture, float]:
        """The EM update of theta, and the log-likelihood at theta in nats per example."""
        statistics = _Statistics(theta)
        loglike = 0.0
        for rows in row_blocks(len(self.X), self.X.shape[1]):
            x, loc, log_joint = theta.infer(self.X[rows])
            evidence = logsumexp(log_joint, axis=0)
            loglike += float(evidence.sum())
            statistics.add(x, loc, np.exp(log_joint - evidence))
        return statistics.maximize(self.floor), loglike / len(self.X)


class _Statistics:
    """Sums over centred rows and over their posterior means, weighted by the responsibilities."""

    def __init__(self, mixture: Mixture) -> None:
        self.mixture = mixture
        clusters, q, size = mixture.components.shape
        self.counts, self.squares = np.zeros(clusters), np.zeros(clusters)
        self.rows, self.latents = np.zeros((clusters, size)), np.zeros((clusters, q))
        self.cross = np.zeros((clusters, q, size))

    def add(self, x: Array, loc: Array, responsibilities: Array) -> None:
        """Add n rows x (n, D), with posterior means (K, n, q) and responsibilities (K, n)."""
        self.counts += responsibilities.sum(axis=1)
        self.rows += responsibilities @ x
        self.squares += responsibilities @ np.einsum("nd,nd->n", x, x)
        weighted = (loc * responsibilities[..., None]).swapaxes(1, 2)
        self.latents += weighted.sum(axis=2)
        self.cross += (weighted.reshape(-1, len(x)) @ x).reshape(self.cross.shape)

    def maximize(self, floor: float) -> Mixture:
        """Both stages of the M-step: weights and means, then W and σ² with the posterior at the new means.

        Parameter expansion (PX-EM, Liu, Rubin & Wu 1998) also fits the covariance of z and absorbs its root into W:
        with little noise, plain EM needs many steps to change the scale of W.
        """
        kept = self.counts > EMPTY
        old, counts = self.mixture, self.counts[kept, None]
        offsets, covariance = self.rows[kept] / counts, old.posterior_covariance[kept]
        cross = (
            self.cross[kept] / counts[..., None] - (self.latents[kept] / counts)[..., None] * offsets[:, None]
        )
        second = covariance + covariance @ old.weighted[kept] @ cross.swapaxes(1, 2)
        weights = np.linalg.solve(second, cross)
        squares = self.squares[kept] / counts[:, 0] - np.einsum("kd,kd->k", offsets, offsets)
        noise = (squares - np.einsum("kqd,kqd->k", weights, cross)) / offsets.shape[1]
        return Mixture(
            weights=self.counts[kept] / counts.sum(),
            means=old.centre + offsets,
            components=principal_axes(np.linalg.cholesky(second).swapaxes(1, 2) @ weights),
            noise_variance=np.maximum(noise, floor),
        )
