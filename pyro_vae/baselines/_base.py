"""Base classes of the baselines as scikit-learn estimators: input, scores, latent posterior, samples."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, DensityMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from pyro_vae._checks import InputError, check, check_integer
from pyro_vae.baselines._gaussian import Array, LowRankGaussian
from pyro_vae.baselines._missing_values import check_no_infinity, condition, incomplete_rows
from pyro_vae.baselines._moments import column_means

VARIANCES = (1e-280, 1e300)
"""Range of column variances whose squares neither overflow nor lose digits."""


def read_rows(estimator: BaseEstimator, X: Any, *, reset: bool = False) -> Array:
    """Return an array, data frame or tensor as float64 (N, D), checked against the fit unless `reset`.

    Masked entries of a masked array become NaN, that is, missing.
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
        # Finiteness is checked on the results, which saves a pass over large data.
        rows = validate_data(estimator, X, reset=reset, dtype=np.float64, ensure_all_finite=False)
    except ValueError as error:
        raise InputError(str(error)) from error
    return np.asarray(rows)


def check_finite(X: Array, summary: Array | float) -> None:
    """Raise `InputError` if `summary`, a function of X, is not finite because X holds NaN or infinity."""
    if np.isfinite(summary).all():
        return
    bad = np.count_nonzero(~np.isfinite(X))
    remedy = "Drop or impute those rows; `fit` takes NaN as missing values."
    check(bad == 0, f"Expected X without NaN or infinity; got {bad} such values. {remedy}")


def check_variances(X: Array, variances: Array) -> None:
    """Raise `InputError` if the column variances of finite X are outside the range of double precision."""
    with np.errstate(invalid="ignore"):
        if VARIANCES[0] <= variances.max() <= VARIANCES[1]:
            return
        size, spread = np.nanmax(np.abs(X)), np.nanmax(np.nanmax(X, axis=0) - np.nanmin(X, axis=0))
    check(
        spread == 0 and size < np.sqrt(VARIANCES[1]),
        f"Expected X with variances that double precision can hold, from {VARIANCES[0]:g} to {VARIANCES[1]:g}; got "
        f"values up to {size:.2g} that vary by up to {spread:.2g}. Multiply X by a constant.",
    )


def check_each_variance(X: Array, variances: Array) -> None:
    """Raise `InputError` if a single column varies too little, for models with one noise variance per column."""
    check_variances(X, variances)
    small = variances < VARIANCES[0]
    varies = [int(column) for column in np.flatnonzero(small) if (X[:, column] != X[0, column]).any()]
    check(
        not varies,
        f"Expected columns of X with variances that double precision can hold, at least {VARIANCES[0]:g}, or that are "
        f"constant; those of columns {varies[:5]} are smaller. Multiply these columns by a constant, or drop them.",
    )


def check_several_rows(num_rows: int) -> None:
    """Raise `InputError` for a single row, which has no covariance."""
    check(num_rows >= 2, f"Expected X of at least 2 rows; got n_samples={num_rows}. Give more rows.")


def check_num_components(value: Any, shape: tuple[int, ...], bound: int) -> int:
    """Return the latent size `value` for X of shape (N, D), or raise unless 0 <= value < bound."""
    number = check_integer(value, "n_components", minimum=0)
    size = f"n_samples={shape[0]} and n_features={shape[1]}"
    check(number < bound, f"Expected n_components below {bound} for {size}; got {number}. Choose fewer.")
    return number


def mean_and_check(X: Array) -> Array:
    """Return the mean of the rows of X, shape (D,); raise `InputError` unless X has several rows, all finite."""
    check_several_rows(len(X))
    with np.errstate(invalid="ignore", over="ignore"):
        mean = column_means(X)
    check_finite(X, mean)
    return mean


def check_columns(X: Array) -> None:
    """Raise `InputError` unless X (NaN = missing) has several rows that differ and a value in every column."""
    check_several_rows(len(X))
    check_no_infinity(X)
    empty = np.flatnonzero(np.isnan(X).all(axis=0))
    check(
        len(empty) == 0,
        f"Expected a value in every column of X; got none in columns {empty[:5].tolist()}. Drop them.",
    )
    varies = np.nanmax(X, axis=0) > np.nanmin(X, axis=0)
    check(bool(varies.any()), "Expected X to vary; got rows that are all equal. Add other rows.")


class ExactDensity(ClassNamePrefixFeaturesOutMixin, TransformerMixin, DensityMixin, BaseEstimator):
    """A density with an exact log-likelihood, in nats per example, and a q-dimensional latent.

    NaN marks a missing value: scores, latents and imputations condition on the observed values of each row.
    """

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def _log_prob(self, X: Array) -> Array:
        """Log p(x) of rows X (N, D), shape (N,), not finite where a value is missing."""
        raise NotImplementedError

    def _observed_log_prob(self, X: Array) -> Array:
        """Log p of the observed values of rows X (N, D), shape (N,)."""
        raise NotImplementedError

    def _expectation(self, X: Array) -> Array:
        """E[x given its observed values] of rows X (N, D), shape (N, D)."""
        raise NotImplementedError

    @property
    def n_components_(self) -> int:
        """The latent size q."""
        return int(self.components_.shape[-2])

    @property
    def _n_features_out(self) -> int:
        return self.n_components_

    def score_samples(self, X: ArrayLike) -> Array:
        """Exact log p(x) of each row, or of its observed values if some are missing.

        Args:
            X: Rows, shape (N, D), NaN where a value is missing.

        Returns:
            Log-likelihoods in nats, shape (N,); 0 for a row without any value.

        Raises:
            InputError: On infinity or another number of features than in the fit.
        """
        check_is_fitted(self, "components_")
        X = read_rows(self, X)
        with np.errstate(invalid="ignore", over="ignore"):
            log_prob = self._log_prob(X)
            incomplete = incomplete_rows(X, log_prob)
            if len(incomplete):
                log_prob[incomplete] = self._observed_log_prob(X[incomplete])
        # NaN means that a squared distance overflowed.
        return np.where(np.isnan(log_prob), -np.inf, log_prob)

    def impute(self, X: ArrayLike) -> Array:
        """Rows X of shape (N, D) with each NaN replaced by its expectation given the observed part of its row."""
        check_is_fitted(self, "components_")
        X = read_rows(self, X)
        check_no_infinity(X)
        missing = np.isnan(X)
        incomplete = np.flatnonzero(missing.any(axis=1))
        filled = X.copy()
        if len(incomplete):
            filled[incomplete] = self._expectation(X[incomplete])
        return np.where(missing, filled, X)

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
        """Share of the model's total variance (trace of its covariance) explained by each row of W, shape (q,)."""
        explained = (self.components_**2).sum(axis=1)
        noise = np.broadcast_to(self.noise_variance_, self.mean_.shape)
        # Isotropic noise counts towards the variance along each axis.
        own = self.noise_variance_ if np.ndim(self.noise_variance_) == 0 else 0.0
        return (explained + own) / (explained.sum() + noise.sum())

    def _log_prob(self, X: Array) -> Array:
        return self._gaussian.log_prob(X)

    def _observed_log_prob(self, X: Array) -> Array:
        out = np.empty(len(X))
        for part in condition(self._gaussian, X):
            out[part.rows] = part.log_prob
        return out

    def _expectation(self, X: Array) -> Array:
        return self.inverse_transform(self.transform(X))

    def posterior(self, X: ArrayLike) -> tuple[Array, Array]:
        """The exact posterior p(z given x) = N(mean, covariance) of rows X of shape (N, D), NaN where missing.

        Returns:
            The mean, shape (N, q), and the covariance (I + W Ψ⁻¹ Wᵀ)⁻¹ over the observed columns: shape (q, q), the
            same for every row, or (N, q, q) if values are missing.

        Raises:
            InputError: On infinity or another number of features than in the fit.
        """
        gaussian = self._gaussian
        X = read_rows(self, X)
        with np.errstate(invalid="ignore", over="ignore"):
            loc = gaussian.posterior_mean(X)
            incomplete = incomplete_rows(X, loc.sum(axis=1))
        if len(incomplete) == 0:
            return loc, gaussian.posterior_covariance
        covariance = np.tile(gaussian.posterior_covariance, (len(X), 1, 1))
        for part in condition(gaussian, X[incomplete]):
            loc[incomplete[part.rows]] = part.loc
            covariance[incomplete[part.rows]] = part.covariance[:, None]
        return loc, covariance

    def transform(self, X: ArrayLike) -> Array:
        """The posterior mean E[z given the observed part of x] of rows X of shape (N, D), shape (N, q)."""
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
