"""Residuals of a regression of x on the context, for baselines without context."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from pyro_vae.data import DataSet, Split
from pyro_vae.networks.context import context_columns

__all__ = ["residuals"]


def residuals(dataset: DataSet) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return training and test rows minus their least-squares regression on the context of training rows.

    PPCA of these is the exact linear model of p(x | context), `N(x; W z + B c + m, s^2 I)` with z summed out: a shift
    of x does not change its density, and the maximum-likelihood B and m are those of least squares. Without context, or
    with partly missing labels as context, rows are returned unchanged.

    Args:
        dataset: Data set with a preprocessing that gives x a density.

    Returns:
        Both of shape (N, D), in data units.
    """
    train, test = (split.tensor().double().numpy() for split in (dataset.train, dataset.test))
    if dataset.context is None or not dataset.is_conditional:
        return train, test
    width = dataset.context.dim
    design, new = (_design(split, width) for split in (dataset.train, dataset.test))
    slopes, *_ = np.linalg.lstsq(design, train, rcond=None)
    return train - design @ slopes, test - new @ slopes


def _design(split: Split, width: int) -> NDArray[np.float64]:
    """Return a column of ones and those of the context, shape (N, 1 + width)."""
    columns = context_columns(split.context, width, torch.empty(0, dtype=torch.float64)).numpy()
    return np.concatenate([np.ones((len(columns), 1)), columns], axis=1)
