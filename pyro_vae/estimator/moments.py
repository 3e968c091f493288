"""Mean and standard deviation of columns, NaN left out."""

from __future__ import annotations

import numpy as np

from pyro_vae.baselines._gaussian import Array

__all__ = ["moments"]


def moments(rows: Array) -> tuple[Array, Array]:
    """Return mean and standard deviation of the observed entries of each column of (N, D), each of shape (D,).

    The standard deviation of a constant column is exactly 0, where the sum of squares leaves a rounding error.
    """
    constant = np.nanmax(rows, axis=0) == np.nanmin(rows, axis=0)
    return np.nanmean(rows, axis=0), np.where(constant, 0.0, np.nanstd(rows, axis=0))
