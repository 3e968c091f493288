"""A mixture of probabilistic PCAs: several local linear models, with an exact log-likelihood."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logsumexp, softmax
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from pyro_vae._checks import check, check_integer, check_positive
from pyro_vae.baselines._base import ExactDensity
from pyro_vae.baselines._em import best, climb, plain
from pyro_vae.baselines._gaussian import Array, row_blocks
from pyro_vae.baselines._incomplete_mixture import IncompleteMixture, observed_posterior
from pyro_vae.baselines._missing_values import has_missing, incomplete_rows
from pyro_vae.baselines._mixture import Mixture, MixtureProblem
from pyro_vae.baselines._rows import (
    check_columns,
    check_finite,
    check_num_components,
    check_several_rows,
    mean_and_check,
    read_rows,
)


class MixtureOfPPCA(ExactDensity):
    """Mixture of PPCAs: p(x) = Σ_k weight_k N(x; mean_k, W_kᵀ W_k + σ²_k I), by EM from a k-means start.

    Each iteration computes the responsibilities R_nk = p(k given x_n) and then, in the two stages of Tipping & Bishop
    (1999b, appendix C), first weights and means, and with the new means W_k and σ²_k (eq. C.14-15), all in one pass of
    O(N D q n_clusters). The log-likelihood never falls.

    Clusters without rows are removed, including those that k-means leaves empty, so `weights_` may have fewer than
    n_clusters entries. As in any mixture, the likelihood is unbounded if a cluster collapses onto a few rows, so each
    σ²_k is kept above `noise_floor` times the mean variance of the columns.

    If values are missing (NaN), responsibilities and posteriors condition on the observed values of each row, and the
    M-step regresses each column on z over the rows in which it is observed; k-means uses rows imputed by one PPCA.

    Args:
        n_components: The latent size q of each local model, 0 <= q < min(N, D). None: 2, or the largest size allowed if
            that is less.
        n_clusters: The number of local models K.
        n_init: Number of starts; the fit with the highest training log-likelihood is kept.
        tol: EM stops when four steps gain less than this in total, in nats per example.
        max_iter: The largest number of EM steps for each start.
        noise_floor: The smallest σ²_k as a share of the mean variance of the columns, above 0 and below 1.
        random_state: Random state of k-means, as in scikit-learn.

    Attributes:
        weights_: Shape (K,), summing to 1.
        means_: Shape (K, D).
        components_: W_k, shape (K, q, D).
        n_components_: The latent size q of each.
        noise_variance_: σ²_k, shape (K,), in squared units of x.
        loglike_: The log-likelihood of all training rows at each step of the start that was kept, in nats.
        n_iter_: The number of EM steps of that start.
        n_features_in_, feature_names_in_: As in scikit-learn.

    References:
        Tipping & Bishop (1999b), Mixtures of probabilistic principal component analysers, Neural
        Computation 11(2).

    Example:
        >>> from sklearn.datasets import load_iris
        >>> from pyro_vae.baselines import PPCA, MixtureOfPPCA
        >>> x = load_iris().data
        >>> mixture = MixtureOfPPCA(n_clusters=3, n_components=1, random_state=0).fit(x)
        >>> mixture.score(x) > PPCA(n_components=1).fit(x).score(x)
        True
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
        """Fit rows X of shape (N, D), NaN where a value is missing; y is ignored.

        Raises:
            InputError: On fewer than two rows or n_clusters rows, equal rows, infinity, a column without
                values, or an n_components of min(N, D) or more.
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
        self.weights_, self.means_ = run.theta.weights, run.theta.means
        self.components_, self.noise_variance_ = run.theta.components, run.theta.noise_variance
        self.loglike_, self.n_iter_ = [len(X) * value for value in run.history], len(run.history)
        return self

    def _problem(self, X: Array) -> MixtureProblem | IncompleteMixture:
        share = check_positive(self.noise_floor, "noise_floor")
        check(share < 1, f"Expected noise_floor below 1, a share of the variance; got {share}.")
        clusters = check_integer(self.n_clusters, "n_clusters")
        check_several_rows(len(X))
        message = f"Expected n_clusters of at most n_samples={len(X)}; got {clusters}. Choose fewer clusters."
        check(clusters <= len(X), message)
        bound = min(X.shape)
        default = min(2, bound - 1)
        q = default if self.n_components is None else check_num_components(self.n_components, X.shape, bound)
        if has_missing(X):
            check_columns(X)
            return IncompleteMixture(X, q, clusters, share)
        return MixtureProblem(X, mean_and_check(X), q, clusters, share)

    @property
    def _mixture(self) -> Mixture:
        check_is_fitted(self, "components_")
        return Mixture(self.weights_, self.means_, self.components_, self.noise_variance_)

    def _log_prob(self, X: Array) -> Array:
        mixture, out = self._mixture, np.empty(len(X))
        for rows in row_blocks(len(X), X.shape[1]):
            out[rows] = logsumexp(mixture.infer(X[rows])[2], axis=0)
        return out

    def _observed_log_prob(self, X: Array) -> Array:
        return logsumexp(observed_posterior(self._mixture, X)[1], axis=0)

    def _expectation(self, X: Array) -> Array:
        """Σ_k R_k (W_kᵀ E[z given x_o, k] + mean_k)."""
        loc, joint = observed_posterior(self._mixture, X)
        local = loc @ self.components_ + self.means_[:, None]
        return np.einsum("kn,knd->nd", softmax(joint, axis=0), local)

    def _responsibilities(self, X: ArrayLike) -> tuple[Array, Array]:
        """p(k given x) (N, K), and E[z given x], averaged over k by them, (N, q)."""
        mixture = self._mixture
        X = read_rows(self, X)
        loc = np.empty((len(mixture.weights), len(X), mixture.components.shape[1]))
        joint = np.empty(loc.shape[:2])
        with np.errstate(invalid="ignore", over="ignore"):
            for rows in row_blocks(len(X), X.shape[1]):
                _, loc[:, rows], joint[:, rows] = mixture.infer(X[rows])
            incomplete = incomplete_rows(X, joint.sum(axis=0))
            if len(incomplete):
                loc[:, incomplete], joint[:, incomplete] = observed_posterior(mixture, X[incomplete])
            shares = softmax(joint, axis=0)
        check_finite(X, shares)
        return shares.T, np.einsum("kn,knq->nq", shares, loc)

    def predict_proba(self, X: ArrayLike) -> Array:
        """The responsibilities p(k given the observed part of x) of rows X of shape (N, D), shape (N, K)."""
        return self._responsibilities(X)[0]

    def predict(self, X: ArrayLike) -> NDArray[np.intp]:
        """The most probable cluster of rows X of shape (N, D), shape (N,)."""
        return self.predict_proba(X).argmax(axis=1)

    def transform(self, X: ArrayLike) -> Array:
        """E[z given x] = Σ_k R_k E[z given x, k] of rows X of shape (N, D), shape (N, q).

        If one cluster has responsibility 1, this is the position along that cluster's own axes. Every cluster has other
        axes, so compare only rows of the same cluster, as given by `predict`.
        """
        return self._responsibilities(X)[1]

    def sample(self, n_samples: int = 1, random_state: Any = None) -> Array:
        """Draw `n_samples` rows from the model, shape (n_samples, D); `random_state` as in scikit-learn."""
        count, mixture = check_integer(n_samples, "n_samples"), self._mixture
        rng = check_random_state(random_state)
        labels = rng.choice(len(self.weights_), size=count, p=self.weights_)
        rows = np.empty((count, self.means_.shape[1]))
        for k in range(len(self.weights_)):
            rows[labels == k] = mixture.local(k).sample(int((labels == k).sum()), rng)
        return rows

    def get_covariance(self) -> Array:
        """The covariance of each local model, shape (K, D, D)."""
        mixture = self._mixture
        return np.stack([mixture.local(k).covariance() for k in range(len(self.weights_))])

    def get_precision(self) -> Array:
        """The inverse covariance of each local model, shape (K, D, D)."""
        mixture = self._mixture
        return np.stack([mixture.local(k).precision() for k in range(len(self.weights_))])
