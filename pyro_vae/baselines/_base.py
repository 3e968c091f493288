"""Base classes of the baselines as scikit-learn estimators: scores, latent posterior, imputations, samples."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, DensityMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from pyro_vae._checks import check, check_integer
from pyro_vae.baselines._gaussian import Array, LowRankGaussian
from pyro_vae.baselines._incomplete_gaussian import condition
from pyro_vae.baselines._missing_values import check_no_infinity, incomplete_rows
from pyro_vae.baselines._rows import read_rows


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
