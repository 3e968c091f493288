"""What the baselines share as scikit-learn estimators: input, scores, the latent posterior, samples."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, DensityMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from pyro_vae._checks import InputError, check, check_integer
from pyro_vae.baselines._gaussian import Array, LowRankGaussian
from pyro_vae.baselines._moments import column_means


def read_rows(estimator: BaseEstimator, X: Any, *, reset: bool = False) -> Array:
    """An array, data frame or tensor as float64 of shape (N, D), checked against the fit unless `reset`."""
    if hasattr(X, "detach"):
        X = X.detach().cpu().double().numpy()
    shape = tuple(getattr(X, "shape", (0, 0)))
    check(len(shape) == 2, f"Expected X of shape (N, D); got {shape}. Reshape your data to one row each.")
    try:
        # Finiteness is read off the results, so that large data is not passed over once more for it.
        rows = validate_data(estimator, X, reset=reset, dtype=np.float64, ensure_all_finite=False)
    except ValueError as error:
        raise InputError(str(error)) from error
    return np.asarray(rows)


def check_finite(X: Array, summary: Array | float) -> None:
    """Raise where X holds NaN or infinity, looked for only if `summary`, computed from all of X, is not finite."""
    if np.isfinite(summary).all():
        return
    bad = np.count_nonzero(~np.isfinite(X))
    mend = "Drop or impute those rows; PPCAEM takes NaN as missing values."
    check(bad == 0, f"Expected X without NaN or infinity; got {bad} such values. {mend}")


def check_several_rows(num_rows: int) -> None:
    """Raise on a single row, which has no covariance."""
    check(num_rows >= 2, f"Expected X of at least 2 rows; got n_samples={num_rows}. Give more rows.")


def check_num_components(value: Any, shape: tuple[int, ...], bound: int) -> int:
    """Return the latent size `value` for X of shape (N, D), or raise unless 0 <= value < bound."""
    number = check_integer(value, "n_components", minimum=0)
    size = f"n_samples={shape[0]} and n_features={shape[1]}"
    check(number < bound, f"Expected n_components below {bound} for {size}; got {number}. Choose fewer.")
    return number


def mean_and_check(X: Array) -> Array:
    """The mean of the rows of X, shape (D,), once there are several rows and all values are finite."""
    check_several_rows(len(X))
    with np.errstate(invalid="ignore", over="ignore"):
        mean = column_means(X)
    check_finite(X, mean)
    return mean


class ExactDensity(ClassNamePrefixFeaturesOutMixin, TransformerMixin, DensityMixin, BaseEstimator):
    """A density with an exact log-likelihood, in nats per example, and a q-dimensional latent."""

    def _log_prob(self, X: Array) -> Array:
        raise NotImplementedError

    @property
    def _n_features_out(self) -> int:
        return self.components_.shape[-2]

    def score_samples(self, X: ArrayLike) -> Array:
        """Exact log p(x) of each row.

        Args:
            X: Rows, shape (N, D).

        Returns:
            Log-likelihoods in nats, shape (N,).

        Raises:
            InputError: On NaN, infinity or another number of features than in the fit.
        """
        check_is_fitted(self, "components_")
        X = read_rows(self, X)
        with np.errstate(invalid="ignore", over="ignore"):
            log_prob = self._log_prob(X)
        check_finite(X, log_prob)
        # All values are finite, so what is not a number is a distance that overflowed.
        return np.where(np.isnan(log_prob), -np.inf, log_prob)

    def score(self, X: ArrayLike, y: Any = None) -> float:
        """The mean of `score_samples(X)` over rows X of shape (N, D), in nats per example; y is ignored."""
        return float(self.score_samples(X).mean())


class LinearGaussian(ExactDensity):
    """x = z components_ + mean_ + noise with z ~ N(0, I_q) and Gaussian noise of variance `noise_variance_`."""

    @property
    def _gaussian(self) -> LowRankGaussian:
        check_is_fitted(self, "components_")
        return LowRankGaussian(self.mean_, self.components_, np.atleast_1d(self.noise_variance_))

    def _log_prob(self, X: Array) -> Array:
        return self._gaussian.log_prob(X)

    def posterior(self, X: ArrayLike) -> tuple[Array, Array]:
        """The exact posterior p(z given x) = N(mean, covariance) of rows X of shape (N, D).

        Returns:
            Its mean, shape (N, q), and its covariance (I + W Ψ⁻¹ Wᵀ)⁻¹, shape (q, q), the same for every row.

        Raises:
            InputError: On NaN, infinity or another number of features than in the fit.
        """
        gaussian = self._gaussian
        X = read_rows(self, X)
        with np.errstate(invalid="ignore", over="ignore"):
            loc = gaussian.posterior_mean(X)
        check_finite(X, loc)
        return loc, gaussian.posterior_covariance

    def transform(self, X: ArrayLike) -> Array:
        """The posterior mean E[z given x] of rows X of shape (N, D), shape (N, q)."""
        return self.posterior(X)[0]

    def inverse_transform(self, Z: ArrayLike) -> Array:
        """The mean of x given z, Z components_ + mean_, for Z of shape (N, q), shape (N, D)."""
        check_is_fitted(self, "components_")
        latents = np.asarray(Z, dtype=np.float64)
        size = len(self.components_)
        check(
            latents.ndim == 2 and latents.shape[1] == size,
            f"Expected Z of shape (N, {size}); got {latents.shape}. Give latents as `transform` does.",
        )
        return latents @ self.components_ + self.mean_

    def sample(self, n_samples: int = 1, random_state: Any = None) -> Array:
        """Draw `n_samples` rows from the model, shape (n_samples, D); `random_state` as in scikit-learn."""
        count = check_integer(n_samples, "n_samples")
        return self._gaussian.sample(count, check_random_state(random_state))

    def get_covariance(self) -> Array:
        """The model's covariance Wᵀ W + Ψ of x, shape (D, D)."""
        return self._gaussian.covariance()

    def get_precision(self) -> Array:
        """The inverse of the model's covariance, shape (D, D), by Woodbury."""
        return self._gaussian.precision()
