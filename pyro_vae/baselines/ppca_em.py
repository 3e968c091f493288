"""Probabilistic PCA by exact EM, with missing values."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_random_state

from pyro_vae._checks import check, check_integer, check_positive
from pyro_vae.baselines._base import LinearGaussian
from pyro_vae.baselines._em import best, climb, squarem
from pyro_vae.baselines._gaussian import Array, principal_axes
from pyro_vae.baselines._incomplete_gaussian import Loadings, Statistics
from pyro_vae.baselines._missing_values import Incomplete
from pyro_vae.baselines._rows import check_columns, check_num_components, check_variances, read_rows

# Below this share of the mean column variance, the noise variance is rounding in the M-step and counts as zero.
ZERO_NOISE = 1e-12

# Share of noise at the start. With little noise, the first steps rotate W to the leading axes, as subspace iteration
# does; with much noise, the weaker axes would first shrink and then have to grow again.
START_NOISE = 1e-6


class PPCAEM(LinearGaussian):
    """The model of `PPCA` fitted by exact EM, O(N D q) per iteration; NaN marks a value missing at random.

    The E-step conditions on the observed values o of each row, and imputes nothing:

        z given x_o ~ N(M⁻¹ y, σ² M⁻¹),  M = σ² I + W_o W_oᵀ,  y = W_o (x_o - mu_o)

    (Tipping & Bishop 1999, eq. 25-26, on the observed columns). The M-step is one least-squares regression on (z, 1)
    for each column over the rows in which it is observed, which gives W and mu jointly, and σ² as the mean squared
    residual. Rows with the same missing columns share M; columns missing in the same rows share their normal equations.
    The steps are accelerated by SQUAREM, which accepts an extrapolation only if the log-likelihood does not decrease.

    A row without any value does not change the fit, and its log p is 0; a column without any value raises an error.

    Args:
        n_components: The latent size q, 0 <= q < min(N - 1, D). None: the largest, min(N - 1, D) - 1.
        tol: EM stops when four steps gain less than this in total, in nats per example.
        max_iter: The largest number of E-steps.
        random_state: Random state of the start (W from random combinations of the rows), as in scikit-learn.

    Attributes:
        components_: W, shape (q, D), along the principal axes of W, longest first.
        mean_: mu, shape (D,).
        noise_variance_: σ², a float, in squared units of x.
        n_components_: The latent size q.
        explained_variance_: Variances of the model along those axes, shape (q,), in squared units of x.
        explained_variance_ratio_: The same as shares of the model's total variance, shape (q,).
        singular_values_: sqrt(N explained_variance_), shape (q,); without missing values, the singular values of the
            centred rows.
        n_samples_seen_: The number of rows fitted, N.
        loglike_: The log-likelihood of all training rows at each E-step, in nats; it never decreases.
        n_iter_: The number of E-steps.
        n_features_in_, feature_names_in_: As in scikit-learn.

    References:
        Tipping & Bishop (1999), Probabilistic principal component analysis, J. R. Statist. Soc. B 61(3).
        Liu, Rubin & Wu (1998), Parameter expansion to accelerate EM: the PX-EM algorithm, Biometrika 85(4).
        Varadhan & Roland (2008), Simple and globally convergent methods for accelerating the convergence of
        any EM algorithm, Scand. J. Statist. 35(2).

    Example:
        >>> import numpy as np
        >>> from sklearn.datasets import load_iris
        >>> from pyro_vae.baselines import PPCAEM
        >>> x = load_iris().data
        >>> x[::3, 0] = np.nan
        >>> completed = PPCAEM(n_components=2, random_state=0).fit(x).impute(x)
        >>> bool(np.isfinite(completed).all())
        True
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

    def fit(self, X: ArrayLike, y: Any = None) -> PPCAEM:
        """Fit rows X of shape (N, D), NaN where a value is missing; y is ignored.

        Raises:
            InputError: On a single row, infinity, a column without values, equal rows, an n_components
                of min(N - 1, D) or more, or data that n_components explain fully, so that no noise is left.
        """
        tol = check_positive(self.tol, "tol", zero=True)
        max_iter = check_integer(self.max_iter, "max_iter")
        X = read_rows(self, X, reset=True)
        check_columns(X)
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

    def posterior(self, X: ArrayLike) -> tuple[Array, Array]:
        """p(z given the observed part of x) = N(mean, covariance) of rows X of shape (N, D).

        Returns:
            The mean, shape (N, q), and the covariance σ² M⁻¹ of each row, shape (N, q, q).
        """
        loc, covariance = super().posterior(X)
        return loc, np.broadcast_to(covariance, (*loc.shape, loc.shape[1])).copy()


class _Problem:
    """Training rows centred on their column means, and the EM step on (W, mu, log σ²) as one vector."""

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
        """A start: W from random combinations of the rows, which favour the leading axes, and little noise."""
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
        """W (q, D), mu (D,) relative to the column means, σ²."""
        size = len(self.mean)
        # An extrapolation may exceed the bounds of log σ².
        log_noise = min(max(theta[-1], self.lowest), self.highest)
        return theta[: self.q * size].reshape(self.q, size), theta[-1 - size : -1], math.exp(log_noise)

    def step(self, theta: Array) -> tuple[Array, float]:
        """The EM update of theta, and the log-likelihood at theta in nats per example."""
        components, offset, noise_variance = self.unpack(theta)
        # On the principal axes M is nearly diagonal, so its inverse is accurate even if their lengths differ greatly.
        rotation, lengths, axes = np.linalg.svd(components, full_matrices=False)
        loadings = Loadings(lengths[:, None] * axes, offset, noise_variance, self.data.columns)
        statistics = Statistics(self.data.columns, self.q)
        loglike = -0.5 * (self.squares + self.counts @ offset**2) / noise_variance
        for block in self.blocks:
            posterior = loadings.posterior(block)
            statistics.add(block, posterior, noise_variance)
            loglike += float(loadings.log_prob(block, posterior, np.zeros((1, 1))).sum())
        components, offset, explained = statistics.maximize()
        noise_variance = (self.squares - float(explained.sum())) / self.counts.sum()
        check(
            noise_variance > ZERO_NOISE * math.exp(self.highest),
            f"Expected n_components below the rank of the data; {self.q} explain it fully, so the noise "
            "variance goes to zero and the density to infinity. Choose fewer.",
        )
        return self.pack(rotation @ components, offset, noise_variance), loglike / len(self.data.x)
