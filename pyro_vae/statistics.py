"""The mean of independent values with its standard error."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

__all__ = ["mean_and_se", "se_of_mean"]


def mean_and_se(values: Any) -> tuple[float, float]:
    """Return the mean of independent values and its standard error, `s / sqrt(N)`.

    s is the standard deviation, normalised by N - 1.

    Args:
        values: Numbers in a tensor, an array or a list, shape (N,).

    Returns:
        Both as float64, in the unit of the values; the error is NaN for one value.
    """
    numbers = values.double() if isinstance(values, Tensor) else torch.tensor(values, dtype=torch.float64)
    se = float(numbers.std() / len(numbers) ** 0.5) if len(numbers) > 1 else math.nan
    return float(numbers.mean()), se


def se_of_mean(se: Tensor) -> float:
    """Return the standard error of the mean of estimates with known standard errors, `sqrt(sum se^2) / N`.

    Args:
        se: Standard errors of independent estimates, shape (N,).
    """
    return float(se.square().sum().sqrt() / len(se))
