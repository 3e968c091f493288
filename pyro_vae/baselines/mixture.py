"""A mixture of probabilistic PCAs: several local linear models, with an exact log-likelihood."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp
from sklearn.cluster import KMeans
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from pyro_vae._checks import check, check_integer, check_positive
from pyro_vae.baselines._base import (
    ExactDensity,
    check_finite,
    check_num_components,
    mean_and_check,
    read_rows,
)
from pyro_vae.baselines._em import best, climb, plain
from pyro_vae.baselines._gaussian import Array, LowRankGaussian, principal_axes, row_blocks
from pyro_vae.baselines._moments import second_moment

# A cluster whose responsibilities sum to less than this many rows is empty. Taking it out while the other
# weights share its own changes the log-likelihood by about the square of this.
EMPTY = 1e-6


class MixtureOfPPCA(ExactDensity):
    """Mixture of PPCAs: p(x) = Σ_k weight_k N(x; mean_k, W_kᵀ W_k + σ²_k I), by EM from a k-means start.

    Each iteration takes the responsibilities R_nk = p(k given x_n) and then, in the two stages of Tipping &
    Bishop (1999b, appendix C), first weights and means, and at the new means W_k and σ²_k (eq. C.14-15
    there), all in one pass of O(N D q n_clusters). The log-likelihood never falls.

    A cluster that comes to hold no rows is taken out, as is one that k-means leaves empty, so `weights_`
    may have fewer than n_clusters entries. As in any mixture the likelihood is unbounded where a cluster
    closes in on a few rows, so each σ²_k is kept above `noise_floor` times the mean variance of the
    columns.

    Args:
        n_components: The latent size q of each local model, 0 <= q < min(N, D). None takes 2, or less where
        N or D
            leave no room.
        n_clusters: The number of local models K.
        n_init: Starts, of which the one with the highest training log-likelihood is kept.
        tol: EM stops when four steps together gain less than this, in nats per example.
        max_iter: The largest number of EM steps for each start.
        noise_floor: The smallest σ²_k as a share of the mean variance of the columns, above 0 and below 1.
        random_state: For k-means; as in scikit-learn.

    Attributes:
        weights_: Shape (K,), summing to 1.
        means_: Shape (K, D).
        components_: W_k, shape (K, q, D).
        noise_variance_: σ²_k, shape (K,), in squared units of x.
        loglike_: The log-likelihood of all training rows at each step of the start that was kept, in nats.
        n_iter_: The number of EM steps of that start.
        n_features_in_, feature_names_in_: As in scikit-learn.

    References:
        Tipping & Bishop (1999b), Mixtures of probabilistic principal component analysers, Neural
        Computation 11(2).
    """

    def __init__(
        self,
        n_components: int | None = None,
        *,
        n_clusters: int = 2,
        n_init: int = 1,
        tol: float = 1e-5,
        max_iter: int = 1000,
        noise_floor: float = 1e-6,
        random_state: Any = None,
    ) -> None:
        self.n_components = n_components
        self.n_clusters = n_clusters
        self.n_init = n_init
        self.tol = tol
        self.max_iter = max_iter
        self.noise_floor = noise_floor
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: Any = None) -> MixtureOfPPCA:
        """Fit rows X of shape (N, D); y is ignored.

        Raises:
            InputError: On fewer than two rows or n_clusters rows, rows all alike, NaN or infinity, or an
            n_components
                of min(N, D) or more.
        """
        tol = check_positive(self.tol, "tol", zero=True)
        max_iter, starts = check_integer(self.max_iter, "max_iter"), check_integer(self.n_init, "n_init")
        X = read_rows(self, X, reset=True)
        problem = self._problem(X)
        rng = check_random_state(self.random_state)
        runs = (
            climb(plain(problem.step, problem.start(rng)), tol=tol, max_iter=max_iter) for _ in range(starts)
        )
        run = best(runs, "MixtureOfPPCA")
        self.weights_, gaussians = run.theta
        self.means_, self.components_ = gaussians.mean, gaussians.components
        self.noise_variance_ = gaussians.noise_variance[:, 0]
        self.loglike_, self.n_iter_ = [len(X) * value for value in run.history], len(run.history)
        return self

    def _problem(self, X: Array) -> _Problem:
        share = check_positive(self.noise_floor, "noise_floor")
        check(share < 1, f"Expected noise_floor below 1, a share of the variance; got {share}.")
        clusters = check_integer(self.n_clusters, "n_clusters")
        mean = mean_and_check(X)
        message = f"Expected n_clusters of at most n_samples={len(X)}; got {clusters}. Choose fewer clusters."
        check(clusters <= len(X), message)
        room = min(X.shape)
        q = (
            min(2, room - 1)
            if self.n_components is None
            else check_num_components(self.n_components, X.shape, room)
        )
        return _Problem(X, mean, q, clusters, share)

    @property
    def _mixture(self) -> Mixture:
        check_is_fitted(self, "components_")
        return Mixture(
            self.weights_, LowRankGaussian(self.means_, self.components_, self.noise_variance_[:, None])
        )

    def _log_prob(self, X: Array) -> Array:
        return logsumexp(self._mixture.log_joint(X), axis=0)

    def predict_proba(self, X: ArrayLike) -> Array:
        """The responsibilities p(k given x) of rows X of shape (N, D), shape (N, K)."""
        mixture = self._mixture
        X = read_rows(self, X)
        with np.errstate(invalid="ignore", over="ignore"):
            joint = mixture.log_joint(X)
            check_finite(X, joint)
            return np.exp(joint - logsumexp(joint, axis=0)).T

    def predict(self, X: ArrayLike) -> NDArray[np.intp]:
        """The most probable cluster of rows X of shape (N, D), shape (N,)."""
        return self.predict_proba(X).argmax(axis=1)

    def transform(self, X: ArrayLike) -> Array:
        """E[z given x] = Σ_k R_k E[z given x, k] of rows X of shape (N, D), shape (N, q).

        The posterior mean under the responsibilities: where one cluster is certain it is the place in that
        cluster's own axes. Places in different clusters are not comparable without `predict`.
        """
        responsibilities = self.predict_proba(X)
        return np.einsum(
            "nk,knq->nq", responsibilities, self._mixture.gaussians.posterior_mean(read_rows(self, X))
        )

    def sample(self, n_samples: int = 1, random_state: Any = None) -> Array:
        """Draw `n_samples` rows from the model, shape (n_samples, D); `random_state` as in scikit-learn."""
        count, mixture = check_integer(n_samples, "n_samples"), self._mixture
        rng = check_random_state(random_state)
        labels = rng.choice(len(self.weights_), size=count, p=self.weights_)
        rows = np.empty((count, self.means_.shape[1]))
        for k in range(len(self.weights_)):
            rows[labels == k] = mixture.gaussians[k].sample(int((labels == k).sum()), rng)
        return rows

    def get_covariance(self) -> Array:
        """The covariance of each local model, shape (K, D, D)."""
        return self._mixture.gaussians.covariance()

    def get_precision(self) -> Array:
        """The inverse covariance of each local model, shape (K, D, D)."""
        return self._mixture.gaussians.precision()


class Mixture(NamedTuple):
    """Weights (K,) and the K Gaussians."""

    weights: Array
    gaussians: LowRankGaussian

    def log_joint(self, x: Array) -> Array:
        """Log p(x, k) of rows of shape (N, D), in nats, shape (K, N)."""
        return self.gaussians.log_prob(x) + np.log(self.weights)[:, None]


class _Problem:
    """The training rows, a start, and the EM step."""

    def __init__(self, X: Array, mean: Array, q: int, num_clusters: int, share: float) -> None:
        self.X, self.q, self.num_clusters = X, q, num_clusters
        variance = second_moment(X, mean).diagonal.mean()
        check(variance > 0, "Expected X to vary; got rows that are all alike. Add other rows.")
        self.floor = share * variance

    def start(self, rng: np.random.RandomState) -> Mixture:
        """Weights and means by k-means; W and σ² in every cluster those of PPCA about the clusters' means."""
        labels = KMeans(self.num_clusters, n_init=1, random_state=rng).fit_predict(self.X)
        _, labels, counts = np.unique(labels, return_inverse=True, return_counts=True)
        means = np.stack([self.X[labels == k].mean(axis=0) for k in range(len(counts))])
        within = second_moment(self.X - means[labels], np.zeros(means.shape[1]))
        values, axes = within.eigenpairs(self.q)
        noise = max((within.diagonal.sum() - values.sum()) / (len(axes.T) - self.q), self.floor)
        components = np.sqrt(np.maximum(values - noise, 0.0))[:, None] * axes
        stacked = np.repeat(components[None], len(counts), axis=0)
        return Mixture(
            counts / len(labels), LowRankGaussian(means, stacked, np.full((len(counts), 1), noise))
        )

    def step(self, theta: Mixture) -> tuple[Mixture, float]:
        """The EM update of theta, and the log-likelihood at theta in nats per example."""
        statistics = _Statistics(theta.gaussians)
        loglike = 0.0
        for rows in row_blocks(len(self.X), self.X.shape[1]):
            residual, loc, log_prob = theta.gaussians.infer(self.X[rows])
            joint = log_prob + np.log(theta.weights)[:, None]
            evidence = logsumexp(joint, axis=0)
            loglike += float(evidence.sum())
            statistics.add(residual, loc, np.exp(joint - evidence))
        return statistics.maximize(self.floor), loglike / len(self.X)


class _Statistics:
    """Sums over rows, weighted by their responsibilities, about the means of `gaussians`."""

    def __init__(self, gaussians: LowRankGaussian) -> None:
        self.gaussians = gaussians
        clusters, q, size = gaussians.components.shape
        self.counts, self.squares = np.zeros(clusters), np.zeros(clusters)
        self.residuals = np.zeros((clusters, size))
        self.cross = np.zeros((clusters, q, size))

    def add(self, residual: Array, loc: Array, responsibilities: Array) -> None:
        """Take in n rows: residuals (K, n, D), posterior means (K, n, q), responsibilities (K, n)."""
        weighted = residual * responsibilities[..., None]
        self.counts += responsibilities.sum(axis=1)
        self.residuals += weighted.sum(axis=1)
        self.squares += np.einsum("knd,knd->k", weighted, residual)
        self.cross += loc.swapaxes(1, 2) @ weighted

    def maximize(self, floor: float) -> Mixture:
        """Both stages of the M-step; sums about the old means are carried over to the new ones."""
        kept = self.counts > EMPTY
        counts, old = self.counts[kept], self.gaussians[kept]
        shift = self.residuals[kept] / counts[:, None]
        gain = old.posterior_covariance @ old.weighted
        moved = np.einsum("kqd,kd->kq", gain, shift)
        cross = self.cross[kept] / counts[:, None, None] - moved[..., None] * shift[:, None]
        second = old.posterior_covariance + gain @ cross.swapaxes(1, 2)
        weights = np.linalg.solve(second, cross)
        components = principal_axes(np.linalg.cholesky(second).swapaxes(1, 2) @ weights)
        squares = self.squares[kept] / counts - np.einsum("kd,kd->k", shift, shift)
        residual = squares - np.einsum("kqd,kqd->k", weights, cross)
        noise = np.maximum(residual / shift.shape[1], floor)
        return Mixture(counts / counts.sum(), LowRankGaussian(old.mean + shift, components, noise[:, None]))
