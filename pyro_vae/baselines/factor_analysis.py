"""Factor analysis: a noise variance of its own for every column."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_random_state

from pyro_vae._checks import check, check_integer, check_positive
from pyro_vae.baselines._base import LinearGaussian, check_num_components, mean_and_check, read_rows
from pyro_vae.baselines._em import best, climb, squarem
from pyro_vae.baselines._gaussian import Array
from pyro_vae.baselines._moments import SecondMoment, second_moment


class FactorAnalysis(LinearGaussian):
    """Factor analysis: x = z W + mean + noise, z ~ N(0, I_q), noise ~ N(0, Ψ) with Ψ diagonal, by EM.

    Each iteration first maximises the likelihood over W exactly for the Ψ at hand (so this is the ECME of
    Liu & Rubin 1994), from the eigenvalues λ_k and eigenvectors v_k of Ψ^(-1/2) S Ψ^(-1/2):

        row k of W = sqrt(max(λ_k - 1, 0)) v_k Ψ^(1/2)   (Barber 2012, eq. 21.2.33),

    and then takes EM's step for the noise, Ψ = diag(S - Wᵀ W), which at that W needs no further pass. So EM
    runs on Ψ alone, accelerated by SQUAREM, and the data enters through its covariance S once (through its
    rows if they are fewer than the columns): an iteration costs one eigenproblem of the smaller size.

    The likelihood may rise without bound as one noise variance goes to zero (a Heywood case), so each is
    kept above `noise_floor` times its column's variance. A constant column gets `noise_floor` times the
    smallest variance among the other columns.

    Args:
        n_components: The latent size q, 0 <= q < min(N, D). None takes the largest q that leaves the model
            fewer parameters than a full covariance, (D - q)² >= D + q (the Ledermann bound), at most N - 1.
        n_init: Starts, of which the one with the highest training log-likelihood is kept; it may have several
            maxima. The first start is Ψ = diag(S), the others are 1 to 10 times that, at random for each
            column.
        tol: EM stops when four steps together gain less than this, in nats per example.
        max_iter: The largest number of iterations for each start.
        noise_floor: The smallest noise variance as a share of its column's variance, above 0 and below 1.
        random_state: For the starts after the first; as in scikit-learn.

    Attributes:
        components_: W, shape (q, D), with W Ψ⁻¹ Wᵀ diagonal, largest first.
        mean_: Shape (D,).
        noise_variance_: The diagonal of Ψ, shape (D,), in squared units of x.
        loglike_: The log-likelihood of all training rows at each iteration, in nats; it never falls.
        n_iter_: The number of iterations.
        n_features_in_, feature_names_in_: As in scikit-learn.

    References:
        Rubin & Thayer (1982), EM algorithms for ML factor analysis, Psychometrika 47(1).
        Liu & Rubin (1994), The ECME algorithm, Biometrika 81(4).
        Barber (2012), Bayesian Reasoning and Machine Learning, section 21.2.
        Varadhan & Roland (2008), Simple and globally convergent methods for accelerating the convergence of
        any EM algorithm, Scand. J. Statist. 35(2).
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
        """Fit rows X of shape (N, D); y is ignored.

        Raises:
            InputError: On a single row, rows all alike, NaN or infinity, or an n_components of min(N, D)
                or more.
        """
        tol = check_positive(self.tol, "tol", zero=True)
        max_iter, starts = check_integer(self.max_iter, "max_iter"), check_integer(self.n_init, "n_init")
        share = check_positive(self.noise_floor, "noise_floor")
        check(share < 1, f"Expected noise_floor below 1, a share of the variance; got {share}.")
        X = read_rows(self, X, reset=True)
        self.mean_ = mean_and_check(X)
        problem = _Problem(second_moment(X, self.mean_), self._latent_size(X.shape), share)
        runs = (
            climb(squarem(problem.step, start), tol=tol, max_iter=max_iter)
            for start in problem.starts(starts, check_random_state(self.random_state))
        )
        run = best(runs, "FactorAnalysis")
        self.noise_variance_ = problem.unpack(run.theta)
        self.components_ = problem.best_components(self.noise_variance_)[0]
        self.loglike_, self.n_iter_ = [len(X) * value for value in run.history], len(run.history)
        return self

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
        check(bool(varies.any()), "Expected X to vary; got rows that are all alike. Add other rows.")
        self.variances = np.where(varies, diagonal, diagonal[varies].min())
        self.floor = share * self.variances

    def starts(self, number: int, rng: np.random.RandomState) -> Iterator[Array]:
        """Yield log Ψ to start from. From noise too large, factors enter one after another, the strongest first."""
        logs = np.log(self.variances)
        yield logs
        for _ in range(number - 1):
            yield logs + math.log(10) * rng.uniform(size=len(logs))

    def unpack(self, theta: Array) -> Array:
        """Ψ (D,), between the floor and the largest start, which an extrapolation may have left."""
        return np.exp(np.clip(theta, np.log(self.floor), np.log(10 * self.variances)))

    def best_components(self, noise_variance: Array) -> tuple[Array, Array]:
        """The maximum likelihood W (q, D) for Ψ, and max(λ_k - 1, 0) (q,)."""
        scale = np.sqrt(noise_variance)
        values, axes = self.covariance.eigenpairs(self.q, scale)
        gain = np.maximum(values - 1, 0.0)
        return np.sqrt(gain)[:, None] * axes * scale, gain

    def step(self, theta: Array) -> tuple[Array, float]:
        """The EM update of log Ψ, and the log-likelihood at log Ψ and its best W, in nats per example.

        There log|C| = log|Ψ| + Σ log(1 + gain) and tr(C⁻¹ S) = tr(Ψ⁻¹ S) - Σ gain.
        """
        noise_variance = self.unpack(theta)
        components, gain = self.best_components(noise_variance)
        diagonal = self.covariance.diagonal
        log_det = np.log(noise_variance).sum() + np.log1p(gain).sum()
        trace = (diagonal / noise_variance).sum() - gain.sum()
        update = np.maximum(diagonal - np.einsum("qd,qd->d", components, components), self.floor)
        return np.log(update), -0.5 * (len(diagonal) * math.log(2 * math.pi) + log_det + trace)
