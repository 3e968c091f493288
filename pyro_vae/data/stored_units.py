"""Conversion of x to the units of the file."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyro_vae.data.preprocessing import (
    AsFloat,
    BinarizeDynamic,
    BinarizeStatic,
    Centre,
    Dequantize,
    IntegerLevels,
    Preprocessing,
    Rescale,
)

__all__ = ["in_stored_units", "stored_scale"]


def in_stored_units(x: Tensor, preprocessing: Preprocessing, *, drawn: bool) -> NDArray[np.generic]:
    """Return rows in the units of the file, by inverting `preprocessing`.

    Args:
        x: Rows, shape (N, D), in data units.
        preprocessing: Preprocessing of the training rows.
        drawn: Whether rows are draws, which are rounded if the file holds whole numbers; means are not rounded.

    Returns:
        Shape (N, D): the smallest integers that hold the levels for draws of integer data, else float32, or float64 if
        a constant is added that float32 cannot hold.
    """
    x = x.detach().double().cpu()
    if isinstance(preprocessing, AsFloat):
        return x.float().numpy()
    if isinstance(preprocessing, Centre):
        return (x + torch.tensor(preprocessing.offset, dtype=torch.float64)).numpy()
    scale, low = stored_scale(preprocessing), _low(preprocessing)
    if isinstance(preprocessing, Dequantize):
        high = low + preprocessing.levels - 1
        # A mean of x is half a level above that of the integers, because it includes the noise.
        return _stored(((scale * x).floor() if drawn else scale * x - 0.5) + low, low, high, drawn)
    return _stored(scale * x + low, low, low + round(scale), drawn)


def stored_scale(preprocessing: Preprocessing) -> float:
    """Return the number of units of the file in one unit of x."""
    if isinstance(preprocessing, AsFloat | Centre):
        return 1.0
    if isinstance(preprocessing, Dequantize):
        return float(preprocessing.levels)
    if isinstance(preprocessing, IntegerLevels):
        return float(preprocessing.levels - 1)
    assert isinstance(preprocessing, Rescale | BinarizeStatic | BinarizeDynamic)
    return float(preprocessing.high - preprocessing.low)


def _low(preprocessing: Preprocessing) -> int:
    assert isinstance(preprocessing, Dequantize | IntegerLevels | Rescale | BinarizeStatic | BinarizeDynamic)
    return preprocessing.low


def _stored(values: Tensor, low: int, high: int, drawn: bool) -> NDArray[np.generic]:
    """Return values within the range of the file, draws as whole numbers."""
    values = values.clamp(low, high)
    if not drawn:
        return values.float().numpy()
    kind = np.promote_types(np.min_scalar_type(low), np.min_scalar_type(high))
    return values.round().numpy().astype(kind)
