"""Probabilistic PCA by maximum likelihood, in closed form."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from pyro_vae._checks import InputError, check
from pyro_vae.baselines._base import LinearGaussian
from pyro_vae.baselines._gaussian import Array
from pyro_vae.baselines._missing_values import has_missing
from pyro_vae.baselines._moments import CentredRows, Moments, SecondMoment, column_means
from pyro_vae.baselines._rows import (
    check_finite,
    check_num_components,
    check_variances,
    mean_and_check,
    read_rows,
)
from pyro_vae.baselines.ppca_em import PPCAEM

# Attributes of a fit by EM that are copied.
ATTRIBUTES = (
    "components_",
    "mean_",
    "noise_variance_",
    "explained_variance_",
    "loglike_",
    "n_iter_",
    "n_samples_seen_",
)


class PPCA(LinearGaussian):
    """Probabilistic PCA: x = z W + mean + noise, z ~ N(0, I_q), noise ~ N(0, σ² I), fitted in closed form.

    With the eigenvalues λ₁ >= ... >= λ_D and unit eigenvectors u_k of the covariance of the rows
    (normalised by N, as maximum likelihood has it; scikit-learn's `PCA` divides by N - 1):

        σ² = mean of λ_{q+1}, ..., λ_D  (eq. 8),        row k of W = sqrt(λ_k - σ²) u_k  (eq. 7, R = I).

    The eigenproblem is D x D or N x N, whichever is smaller; eigenvalues are accurate to the rounding of the largest,
    and log-densities to that rounding times λ₁ / σ², in nats. Constant columns are allowed. Equal rows, or σ² = 0,
    where the density is infinite, raise an error.

    If values are missing (NaN) there is no closed form, and `fit` uses the exact EM of `PPCAEM`. Use that class to set
    the tolerance and the start.

    Args:
        n_components: The latent size q, 0 <= q < rank of the centred rows (q = 0 is the isotropic
            Gaussian). None: the largest q with a positive noise variance, which is that rank minus one.

    Attributes:
        components_: W, shape (q, D): principal axes times sqrt(λ_k - σ²).
        mean_: Shape (D,).
        noise_variance_: σ², a float, in squared units of x.
        n_components_: The latent size q.
        explained_variance_: λ₁, ..., λ_q, shape (q,), in squared units of x.
        explained_variance_ratio_: λ₁, ..., λ_q as shares of the total variance, shape (q,), as in scikit-learn.
        singular_values_: Singular values of the centred rows, sqrt(N λ_k), shape (q,), as in scikit-learn.
        loglike_: The log-likelihood of all training rows, in nats: one entry; with missing values, one per E-step.
        n_iter_: 1; with missing values the number of E-steps.
        n_samples_seen_: The number of rows fitted.
        n_features_in_, feature_names_in_: As in scikit-learn.

    References:
        Tipping & Bishop (1999), Probabilistic principal component analysis, J. R. Statist. Soc. B 61(3).

    Example:
        >>> from sklearn.datasets import load_iris
        >>> from pyro_vae.baselines import PPCA
        >>> x = load_iris().data
        >>> ppca = PPCA(n_components=2).fit(x)
        >>> round(ppca.score(x), 1)  # mean log p(x), nats per row
        -2.7
        >>> ppca.transform(x).shape
        (150, 2)
    """

    _moments: (
        Moments | None
    )  # partial_fit continues from these; None after a fit to few rows or missing values

    def __init__(self, n_components: int | None = None) -> None:
        self.n_components = n_components

    def fit(self, X: ArrayLike, y: Any = None) -> PPCA:
        """Fit rows X of shape (N, D), NaN where a value is missing, replacing any earlier fit; y is ignored.

        Raises:
            InputError: On a single row, infinity, a column without values, or an n_components that is not below
                the rank.
        """
        X = read_rows(self, X, reset=True)
        if has_missing(X):
            return self._fit_incomplete(X)
        mean = mean_and_check(X)
        if len(X) < X.shape[1]:
            self._moments = None
            return self._solve(CentredRows(X, mean), mean, X, len(X))
        self._moments = Moments(X.shape[1]).update(X, mean)
        return self._solve(self._moments.covariance(), mean, X, len(X))

    def _fit_incomplete(self, X: Array) -> PPCA:
        by_em = PPCAEM(self.n_components, random_state=0).fit(X)
        self._moments = None
        for name in ATTRIBUTES:
            setattr(self, name, getattr(by_em, name))
        return self

    def fit_moments(self, moments: Moments) -> PPCA:
        """Fit from the count, mean and scatter matrix of the rows, for example summed over several machines.

        The result equals `fit` on the rows themselves; `partial_fit` can continue from it.

        Args:
            moments: Moments of N rows with D columns.

        Raises:
            InputError: If the moments are not finite, or n_components is not below the rank of the rows.
        """
        check(
            moments.count > 0
            and bool(np.isfinite(moments.mean).all() and np.isfinite(moments.scatter).all()),
            f"Expected finite moments of at least one row; got those of {moments.count} rows. Drop or impute rows "
            "with NaN or infinity first.",
        )
        self.n_features_in_ = len(moments.mean)
        self.__dict__.pop("feature_names_in_", None)  # left by an earlier fit
        self._moments = copy.deepcopy(moments)
        covariance = moments.covariance()
        spread = np.sqrt(covariance.diagonal)
        extremes = np.stack([moments.mean - spread, moments.mean + spread])  # two rows with these variances
        return self._solve(covariance, moments.mean.copy(), extremes, moments.count)

    def fit_share(self, *arguments: Any) -> PPCA:
        """Removed after version 0.1.0: estimators do not support several processes."""
        raise AttributeError(
            "PPCA.fit_share has been replaced: sum the moments of all rows with "
            "pyro_vae.experiment.comparison.pooled_moments(rows, processes), and give them to PPCA.fit_moments."
        )

    def partial_fit(self, X: ArrayLike, y: Any = None) -> PPCA:
        """Add a chunk of rows X of shape (n, D), in O(D²) memory; y is ignored.

        The result equals `fit` on all rows since the last `fit`, including the rows of that call. Each call solves an
        eigenproblem of size D, so chunks of several times D rows are cheapest. The model is unfitted until more than q
        + 1 rows have been seen.

        Raises:
            InputError: On NaN or infinity, after a `fit` to fewer rows than columns or to missing values (which keeps
                no D x D matrix to continue from), or if the rows seen have a rank of at most n_components.
        """
        first = not hasattr(self, "_moments")
        X = read_rows(self, X, reset=first)
        with np.errstate(invalid="ignore", over="ignore"):
            mean = column_means(X)
        check_finite(X, mean)
        if first:
            self._moments = Moments(X.shape[1])
        if self._moments is None:
            raise InputError(
                "Expected partial_fit after a fit to at least as many rows as columns, without missing values; "
                "got a fit that keeps no D x D matrix. Start from sklearn.base.clone(ppca)."
            )
        seen = self._moments.update(X, mean)
        if seen.count > (self.n_components or 0) + 1:
            self._solve(seen.covariance(), seen.mean.copy(), X, seen.count)
        return self

    @property
    def singular_values_(self) -> Array:
        """The leading singular values of the centred rows, shape (q,), descending, in units of x."""
        return np.sqrt(self.n_samples_seen_ * self.explained_variance_)

    def _solve(self, covariance: SecondMoment, mean: Array, X: Array, num_rows: int) -> PPCA:
        check_variances(X, covariance.diagonal)
        size = len(mean)
        bound = min(num_rows, size)
        q = bound
        if self.n_components is not None:
            q = check_num_components(self.n_components, (num_rows, size), bound)
        values, axes = covariance.eigenpairs(min(q + 1, bound))
        rank = int(np.count_nonzero(values > _rounding(values, num_rows, size)))
        check(
            rank > 0,
            "Expected X to vary; got rows that are all equal, whose density is infinite. Add other rows.",
        )
        q = rank - 1 if self.n_components is None else q
        check(
            q < rank,
            f"Expected n_components below the rank of the centred rows, {rank}; got {q}. The noise "
            f"variance would be zero and the density infinite: choose at most {rank - 1}.",
        )
        self.mean_, self.n_samples_seen_, self.n_iter_ = mean, num_rows, 1
        self.explained_variance_ = values[:q]
        discarded = max(covariance.diagonal.sum() - values[:q].sum(), values[q:].sum())
        self.noise_variance_ = float(discarded) / (size - q)
        self.components_ = np.sqrt(np.maximum(values[:q] - self.noise_variance_, 0.0))[:, None] * axes[:q]
        self.loglike_ = [self._training_log_likelihood()]
        return self

    def _training_log_likelihood(self) -> float:
        """-N/2 (D log 2π + log|C| + D): at the optimum tr(C⁻¹ S) is D."""
        size = len(self.mean_)
        log_det = np.log(self.explained_variance_).sum()
        log_det += (size - len(self.explained_variance_)) * math.log(self.noise_variance_)
        return -0.5 * self.n_samples_seen_ * (size * math.log(2 * math.pi) + log_det + size)


def _rounding(values: Array, num_rows: int, num_features: int) -> float:
    """Smallest eigenvalue of a covariance that is distinguishable from zero."""
    return float(values.max(initial=0.0)) * max(num_rows, num_features) * np.finfo(float).eps
