"""The rows that are given to a baseline: reading, and checks of sizes, finiteness and variances."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import validate_data

from pyro_vae._checks import InputError, check, check_integer
from pyro_vae.baselines._gaussian import Array
from pyro_vae.baselines._missing_values import check_no_infinity
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
