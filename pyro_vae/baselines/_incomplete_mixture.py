"""The exact EM step of the mixture of PPCAs on rows with missing values."""

from __future__ import annotations

import warnings

import numpy as np
from scipy.special import logsumexp
from sklearn.exceptions import ConvergenceWarning

from pyro_vae._checks import InputError
from pyro_vae.baselines._gaussian import Array, principal_axes
from pyro_vae.baselines._incomplete_gaussian import Loadings, Posterior, Statistics, condition
from pyro_vae.baselines._missing_values import Block, Incomplete
from pyro_vae.baselines._mixture import EMPTY, Mixture, MixtureProblem
from pyro_vae.baselines._rows import check_variances
from pyro_vae.baselines.ppca_em import PPCAEM


def observed_posterior(mixture: Mixture, x: Array) -> tuple[Array, Array]:
    """Condition each cluster on the observed values x_o of rows x (N, D).

    Returns:
        E[z given x_o, k], shape (K, N, q), and log p(x_o, k) in nats, shape (K, N).
    """
    clusters, q, _ = mixture.components.shape
    loc, log_joint = np.empty((clusters, len(x), q)), np.empty((clusters, len(x)))
    for k in range(clusters):
        for part in condition(mixture.local(k), x):
            loc[k, part.rows] = part.loc
            log_joint[k, part.rows] = np.log(mixture.weights[k]) + part.log_prob
    return loc, log_joint


class IncompleteMixture:
    """Rows centred on their column means, a start, and the EM step.

    The E-step conditions each cluster on the observed values of a row. The M-step is, for each cluster, one
    regression on (z, 1) for each column over the rows in which it is observed, weighted by their responsibilities; σ²_k
    is the mean squared residual over observed values.

    Args:
        X: Shape (N, D), NaN where a value is missing.
        q: The latent size of each local model.
        num_clusters: The number of local models K.
        share: The smallest σ²_k as a share of the mean variance of the columns.
    """

    def __init__(self, X: Array, q: int, num_clusters: int, share: float) -> None:
        with np.errstate(over="ignore", invalid="ignore"):
            self.mean, variances = np.nanmean(X, axis=0), np.nanvar(X, axis=0)
        check_variances(X, variances)
        self.X, self.q, self.num_clusters, self.share = X, q, num_clusters, share
        self.floor = share * variances.mean()
        self.data = Incomplete(X, self.mean, q)
        self.blocks = list(self.data.blocks())

    def start(self, rng: np.random.RandomState) -> Mixture:
        """The start of `MixtureProblem`, on rows with missing values imputed by one PPCA."""
        filled = _filled(self.X, self.mean, max(self.q, 1), rng)
        complete = MixtureProblem(filled, filled.mean(axis=0), self.q, self.num_clusters, self.share)
        return complete.start(rng)

    def step(self, theta: Mixture) -> tuple[Mixture, float]:
        """The EM update of theta, and the log-likelihood at theta in nats per example."""
        clusters = [_Cluster(theta, k, self.data, self.mean) for k in range(len(theta.weights))]
        loglike = 0.0
        for block in self.blocks:
            posteriors, log_joint = zip(*(cluster.infer(block) for cluster in clusters), strict=True)
            evidence = logsumexp(log_joint, axis=0)
            loglike += float(evidence.sum())
            for cluster, posterior, each in zip(clusters, posteriors, log_joint, strict=True):
                cluster.add(block, posterior, np.exp(each - evidence))
        kept = [cluster for cluster in clusters if cluster.count > EMPTY]
        counts = np.array([cluster.count for cluster in kept])
        means, components, noise = zip(*(cluster.maximize(self.floor) for cluster in kept), strict=True)
        update = Mixture(
            counts / counts.sum(), self.mean + np.stack(means), np.stack(components), np.array(noise)
        )
        return update, loglike / len(self.X)


class _Cluster:
    """One cluster: its posterior at theta, and the sums of its M-step."""

    def __init__(self, theta: Mixture, k: int, data: Incomplete, mean: Array) -> None:
        offset, self.noise_variance = theta.means[k] - mean, float(theta.noise_variance[k])
        self.log_weight = float(np.log(theta.weights[k]))
        self.loadings = Loadings(theta.components[k], offset, self.noise_variance, data.columns)
        self.statistics = Statistics(data.columns, theta.components.shape[1])
        self.squares = self.values = 0.0

    @property
    def count(self) -> float:
        """The sum of the responsibilities."""
        return float(self.statistics.latent[-1, -1])

    def infer(self, block: Block) -> tuple[Posterior, Array]:
        """The posterior of z in this cluster, and log p(x_o, k) in nats, shape (p, m)."""
        posterior = self.loadings.posterior(block)
        log_prob = self.loadings.log_prob(block, posterior, self.loadings.distances(block))
        return posterior, self.log_weight + log_prob

    def add(self, block: Block, posterior: Posterior, responsibilities: Array) -> None:
        """Add one block with responsibilities of shape (p, m)."""
        self.statistics.add(block, posterior, self.noise_variance, responsibilities)
        self.squares += float(np.einsum("pm,pmd,pmd->", responsibilities, block.values, block.values))
        self.values += float(responsibilities.sum(axis=1) @ (block.observed @ self.loadings.sizes))

    def maximize(self, floor: float) -> tuple[Array, Array, float]:
        """The mean (D,) relative to the column means, W (q, D) and σ² of this cluster."""
        update = self.statistics.maximize()
        residual = (self.squares - float(update.explained.sum())) / max(self.values, EMPTY)
        return update.offset, principal_axes(update.components), max(residual, floor)


def _filled(X: Array, mean: Array, q: int, rng: np.random.RandomState) -> Array:
    """Return X (N, D) with missing values imputed by one PPCA, or by column means if that PPCA leaves no noise."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            return PPCAEM(q, tol=1e-3, max_iter=100, random_state=rng).fit(X).impute(X)
    except InputError:
        return np.where(np.isnan(X), mean, X)
