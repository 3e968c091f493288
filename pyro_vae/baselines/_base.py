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

VARIANCES = (1e-280, 1e300)
"""Between which the variances of the columns must lie: with their squares no digit is lost, and nothing overflows."""


def read_rows(estimator: BaseEstimator, X: Any, *, reset: bool = False) -> Array:
    """An array, data frame or tensor as float64 of shape (N, D), checked against the fit unless `reset`.

    What a masked array masks becomes NaN, a missing value.
    """
    if hasattr(X, "detach"):
        X = X.detach().cpu()
        X = X.numpy() if X.is_complex() else X.double().numpy()
    check(
        not (isinstance(X, np.ndarray) and np.iscomplexobj(X)),
        "Complex data not supported: expected X of real numbers. Give real and imaginary parts as columns.",
    )
    if isinstance(X, np.ma.MaskedArray):
        X = np.ma.filled(X.astype(np.float64), np.nan)
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


def check_variances(X: Array, variances: Array) -> None:
    """Raise where double precision cannot hold the variances of the columns of X, computed from finite values."""
    with np.errstate(invalid="ignore"):
        if VARIANCES[0] <= variances.max() <= VARIANCES[1]:
            return
        size, spread = np.nanmax(np.abs(X)), np.nanmax(np.nanmax(X, axis=0) - np.nanmin(X, axis=0))
    check(
        spread == 0 and size < np.sqrt(VARIANCES[1]),
        f"Expected X whose variances double precision can hold, from {VARIANCES[0]:g} to {VARIANCES[1]:g}; got values "
        f"up to {size:.2g} that vary by up to {spread:.2g}. Multiply X by a constant.",
    )


def check_each_variance(X: Array, variances: Array) -> None:
    """The same for every column by itself, where each has a noise variance of its own."""
    check_variances(X, variances)
    small = variances < VARIANCES[0]
    varies = [int(column) for column in np.flatnonzero(small) if (X[:, column] != X[0, column]).any()]
    check(
        not varies,
        f"Expected columns of X whose variances double precision can hold, at least {VARIANCES[0]:g}, or that are "
        f"constant; those of columns {varies[:5]} are smaller. Multiply these columns by a constant, or drop them.",
    )


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
    def n_components_(self) -> int:
        """The latent size q."""
        return int(self.components_.shape[-2])

    @property
    def _n_features_out(self) -> int:
        return self.n_components_

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

    @property
    def explained_variance_ratio_(self) -> Array:
        """Share of the model's whole variance, the trace of its covariance, of each row of W, shape (q,)."""
        explained = (self.components_**2).sum(axis=1)
        noise = np.broadcast_to(self.noise_variance_, self.mean_.shape)
        # Where the noise is the same in all directions, it is part of the variance along an axis.
        own = self.noise_variance_ if np.ndim(self.noise_variance_) == 0 else 0.0
        return (explained + own) / (explained.sum() + noise.sum())

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
