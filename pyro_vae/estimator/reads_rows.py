"""`ReadsRows`: conversion of the inputs of `VAE` to rows of numbers, and checks against the columns of the fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import validate_data

from pyro_vae._checks import InputError
from pyro_vae.baselines._gaussian import Array
from pyro_vae.baselines._rows import read_rows
from pyro_vae.data.columns import Column
from pyro_vae.estimator.columns import columns_of, outside_columns
from pyro_vae.estimator.frames import FrameColumns, check_names, is_frame_of_kinds
from pyro_vae.estimator.parameters import outside_support

__all__ = ["ReadsRows"]


class ReadsRows(BaseEstimator):
    """An estimator whose rows are numbers, or a DataFrame of mixed columns with likelihood "table"."""

    likelihood: str
    kinds: Sequence[str] | Mapping[str, str] | None
    frame_: FrameColumns | None
    columns_: tuple[Column, ...] | None

    def _read_training_rows(self, X: Any) -> tuple[FrameColumns | None, Array]:
        if self.likelihood == "table" and is_frame_of_kinds(X, self.kinds):
            check_names(X)
            validate_data(self, X, skip_check_array=True)
            return FrameColumns.of(X, cast(Any, self.kinds))
        return None, _finite_rows(self, X, reset=True)

    def _rows(self, X: Any) -> Array:
        if self.frame_ is None:
            return _finite_rows(self, X)
        self.frame_.check_is_frame(X)
        try:
            validate_data(self, X, reset=False, skip_check_array=True)
        except ValueError as error:
            raise InputError(str(error)) from error
        return self.frame_.encode(X)

    def _columns(self, rows: Array) -> tuple[Column, ...] | None:
        if self.frame_ is not None:
            return self.frame_.columns
        return columns_of(cast(Any, self.kinds), rows) if self.likelihood == "table" else None

    def _is_outside(self, rows: Array) -> Any:
        if self.columns_ is not None:
            return outside_columns(self.columns_, rows)
        return outside_support(self.likelihood, rows)


def _finite_rows(estimator: ReadsRows, X: Any, *, reset: bool = False) -> Array:
    """Return X as float64 of shape (N, D), checked against the fit unless `reset`."""
    rows = read_rows(estimator, X, reset=reset)
    takes_missing = estimator.likelihood == "table"
    bad = np.count_nonzero(np.isinf(rows) if takes_missing else ~np.isfinite(rows))
    if bad:
        raise InputError(
            f"Expected X without {'' if takes_missing else 'NaN or '}infinity; got {bad} such values. Drop or impute "
            "those rows first; likelihood='table' takes NaN as not observed."
        )
    return rows
