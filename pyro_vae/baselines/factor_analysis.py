"""Factor analysis: one noise variance per column."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import Bounds
from sklearn.utils import check_random_state

from pyro_vae._checks import check, check_integer, check_positive
from pyro_vae.baselines._base import LinearGaussian
from pyro_vae.baselines._em import Run, best, run_to_convergence
from pyro_vae.baselines._gaussian import Array, principal_axes
from pyro_vae.baselines._incomplete_factors import IncompleteFactors
from pyro_vae.baselines._missing_values import has_missing
from pyro_vae.baselines._moments import SecondMoment, second_moment
from pyro_vae.baselines._rows import (
    check_columns,
    check_each_variance,
    check_num_components,
    mean_and_check,
    read_rows,
)


class FactorAnalysis(LinearGaussian):
    """Factor analysis: x = z W + mean + noise, z ~ N(0, I_q), noise ~ N(0, Ψ) with Ψ diagonal, by EM.

    Each iteration first maximises the likelihood over W exactly for the current Ψ (the ECME algorithm of Liu & Rubin
    1994), from the eigenvalues λ_k and eigenvectors v_k of Ψ^(-1/2) S Ψ^(-1/2):

        row k of W = sqrt(max(λ_k - 1, 0)) v_k Ψ^(1/2)   (Barber 2012, eq. 21.2.33),

    and then takes the EM step for the noise, Ψ = diag(S - Wᵀ W), which needs no further pass over the data. EM
    therefore runs on Ψ alone, accelerated by SQUAREM. The data is used once, to compute its covariance S (or its
    centred rows, if there are fewer rows than columns); an iteration costs one eigenproblem of the smaller size.

    Near the maximum EM is slow, especially if a noise variance approaches zero. The fit is therefore completed by a
    quasi-Newton method (Jöreskog 1967) on log Ψ, with the gradient (diag(S - Wᵀ W) / Ψ - 1) / 2.

    The likelihood can be unbounded as a noise variance goes to zero (a Heywood case), so each is kept above
    `noise_floor` times its column's variance. A constant column gets `noise_floor` times the smallest variance among
    the other columns.

    If values are missing (NaN), the E-step conditions on the observed values of each row (Rubin & Thayer 1982 on the
    observed columns), and both methods optimise W, mu and log Ψ jointly.

    Args:
        n_components: The latent size q, 0 <= q < min(N, D). None: the largest q with no more parameters than a full
            covariance, (D - q)² >= D + q (the Ledermann bound), at most N - 1.
        n_init: Number of starts; the fit with the highest training log-likelihood is kept, since there may be several
            maxima. The first start is Ψ = diag(S); the others multiply each column by a random factor from 1 to 10.
            With missing values, every start is W from random combinations of the rows.
        tol: The fit ends when a quasi-Newton step gains less than a ten-thousandth of this, in nats per example.
        max_iter: The largest number of iterations for each start.
        noise_floor: The smallest noise variance as a share of its column's variance, above 0 and below 1.
        random_state: Random state of the starts after the first, as in scikit-learn.

    Attributes:
        components_: W, shape (q, D), with W Ψ⁻¹ Wᵀ diagonal, largest first.
        mean_: Shape (D,).
        noise_variance_: The diagonal of Ψ, shape (D,), in squared units of x.
        n_components_: The latent size q.
        explained_variance_ratio_: Share of the model's total variance that each row of W explains, shape (q,).
        singular_values_: Singular values of the centred rows in units of the noise, (x - mean) Ψ^(-1/2), shape (q,).
        n_samples_seen_: The number of rows fitted.
        loglike_: The log-likelihood of all training rows at each iteration, in nats; it never decreases.
        n_iter_: The number of iterations.
        n_features_in_, feature_names_in_: As in scikit-learn.

    References:
        Jöreskog (1967), Some contributions to maximum likelihood factor analysis, Psychometrika 32(4).
        Rubin & Thayer (1982), EM algorithms for ML factor analysis, Psychometrika 47(1).
        Liu & Rubin (1994), The ECME algorithm, Biometrika 81(4).
        Barber (2012), Bayesian Reasoning and Machine Learning, section 21.2.
        Varadhan & Roland (2008), Simple and globally convergent methods for accelerating the convergence of
        any EM algorithm, Scand. J. Statist. 35(2).

    Example:
        >>> from sklearn.datasets import load_iris
        >>> from pyro_vae.baselines import PPCA, FactorAnalysis
        >>> x = load_iris().data
        >>> fa = FactorAnalysis(n_components=1).fit(x)
        >>> fa.score(x) > PPCA(n_components=1).fit(x).score(x)  # a noise variance for each column
        True
    """

    def __init__(
        self,
        n_components: int | None = None,
        *,
        n_init: int = 4,
        tol: float = 1e-7,
        max_iter: int = 2000,
        noise_floor: float = 1e-6,
        random_state: Any = 0,
    ) -> None:
        self.n_components = n_components
        self.n_init = n_init
        self.tol = tol
        self.max_iter = max_iter
        self.noise_floor = noise_floor
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: Any = None) -> FactorAnalysis:
        """Fit rows X of shape (N, D), NaN where a value is missing; y is ignored.

        Raises:
            InputError: On a single row, equal rows, infinity, a column without values, or an n_components of
                min(N, D) or more.
        """
        tol = check_positive(self.tol, "tol", zero=True)
        max_iter, starts = check_integer(self.max_iter, "max_iter"), check_integer(self.n_init, "n_init")
        share = check_positive(self.noise_floor, "noise_floor")
        check(share < 1, f"Expected noise_floor below 1, a share of the variance; got {share}.")
        X = read_rows(self, X, reset=True)
        if has_missing(X):
            return self._fit_incomplete(X, starts, tol, max_iter, share)
        self.mean_ = mean_and_check(X)
        covariance = second_moment(X, self.mean_)
        check_each_variance(X, covariance.diagonal)
        problem = _Problem(covariance, self._latent_size(X.shape), share)
        runs = (
            problem.fit(start, tol, max_iter)
            for start in problem.starts(starts, check_random_state(self.random_state))
        )
        run = best(runs, "FactorAnalysis")
        self.noise_variance_ = problem.unpack(run.theta)
        self.components_ = problem.best_components(self.noise_variance_)[0]
        self.loglike_, self.n_iter_ = [len(X) * value for value in run.history], len(run.history)
        self.n_samples_seen_ = len(X)
        return self

    def _fit_incomplete(
        self, X: Array, starts: int, tol: float, max_iter: int, share: float
    ) -> FactorAnalysis:
        check_columns(X)
        problem = IncompleteFactors(X, self._latent_size(X.shape), share)
        rng = check_random_state(self.random_state)
        run = best(
            (problem.fit(start, tol, max_iter) for start in problem.starts(starts, rng)), "FactorAnalysis"
        )
        components, offset, self.noise_variance_ = problem.unpack(run.theta)
        scale = np.sqrt(self.noise_variance_)
        self.components_ = principal_axes(components / scale) * scale
        self.mean_ = problem.mean + offset
        self.loglike_, self.n_iter_ = [len(X) * value for value in run.history], len(run.history)
        self.n_samples_seen_ = len(X)
        return self

    @property
    def singular_values_(self) -> Array:
        """The leading singular values of the centred rows in units of the noise, shape (q,), descending."""
        # At the best W for Ψ, |row k of W Ψ^(-1/2)|² = λ_k - 1.
        gain = (self.components_**2 / self.noise_variance_).sum(axis=1)
        return np.sqrt(self.n_samples_seen_ * (1 + gain))

    def _latent_size(self, shape: tuple[int, int]) -> int:
        if self.n_components is not None:
            return check_num_components(self.n_components, shape, min(shape))
        ledermann = math.floor(shape[1] + 0.5 - math.sqrt(2 * shape[1] + 0.25))
        return min(ledermann, shape[0] - 1)


class _Problem:
    """The covariance of the training rows, and the EM step on log Ψ."""

    def __init__(self, covariance: SecondMoment, q: int, share: float) -> None:
        self.covariance, self.q = covariance, q
        diagonal = covariance.diagonal
        varies = diagonal > 0
        check(bool(varies.any()), "Expected X to vary; got rows that are all equal. Add other rows.")
        self.variances = np.where(varies, diagonal, diagonal[varies].min())
        self.floor = share * self.variances

    def starts(self, number: int, rng: np.random.RandomState) -> Iterator[Array]:
        """Yield starts of log Ψ. From noise that is too large, factors enter one after another, the strongest first."""
        logs = np.log(self.variances)
        yield logs
        for _ in range(number - 1):
            yield logs + math.log(10) * rng.uniform(size=len(logs))

    def unpack(self, theta: Array) -> Array:
        """Ψ (D,), clipped to the range from the floor to the largest start (extrapolations may exceed it)."""
        return np.exp(np.clip(theta, np.log(self.floor), np.log(10 * self.variances)))

    def best_components(self, noise_variance: Array) -> tuple[Array, Array]:
        """The maximum likelihood W (q, D) for Ψ, and max(λ_k - 1, 0) (q,)."""
        scale = np.sqrt(noise_variance)
        values, axes = self.covariance.eigenpairs(self.q, scale)
        gain = np.maximum(values - 1, 0.0)
        return np.sqrt(gain)[:, None] * axes * scale, gain

    def step(self, theta: Array) -> tuple[Array, float]:
        """The EM update of log Ψ, and the log-likelihood at log Ψ and its best W, in nats per example."""
        update, loglike = self._update(self.unpack(theta))
        return np.log(np.maximum(update, self.floor)), loglike

    def _update(self, noise_variance: Array) -> tuple[Array, float]:
        """diag(S - Wᵀ W) at the best W for Ψ, shape (D,), and the log-likelihood there, in nats per example.

        log|C| = log|Ψ| + Σ log(1 + gain) and tr(C⁻¹ S) = tr(Ψ⁻¹ S) - Σ gain.
        """
        components, gain = self.best_components(noise_variance)
        diagonal = self.covariance.diagonal
        log_det = np.log(noise_variance).sum() + np.log1p(gain).sum()
        trace = (diagonal / noise_variance).sum() - gain.sum()
        update = diagonal - np.einsum("qd,qd->d", components, components)
        return update, -0.5 * (len(diagonal) * math.log(2 * math.pi) + log_det + trace)

    def fit(self, start: Array, tol: float, max_iter: int) -> Run[Array]:
        """Maximise from log Ψ by EM, then by L-BFGS-B within the bounds of Ψ."""
        bounds = Bounds(np.log(self.floor), np.log(10 * self.variances))
        return run_to_convergence(self.step, self.gradient, start, bounds, tol=tol, max_iter=max_iter)

    def gradient(self, theta: Array) -> tuple[float, Array]:
        """The log-likelihood at log Ψ and its best W, in nats per example, and its gradient in log Ψ."""
        noise_variance = self.unpack(theta)
        update, loglike = self._update(noise_variance)
        return loglike, (update / noise_variance - 1) / 2
