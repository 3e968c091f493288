"""Noise that is a deterministic function of the row."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["uniform_of_rows"]

_GOLDEN = -7046029254386353131  # 2^64 divided by the golden ratio, odd, as a signed number
_FIRST, _SECOND = -4658895280553007687, -7723592293110705685  # multipliers of SplitMix64 (Steele et al. 2014)
_BITS = 23
"""Bits of a uniform number. With one half added it is exact in single precision, and neither 0 nor 1."""


def uniform_of_rows(x: Tensor) -> Tensor:
    """Return pseudorandom uniform numbers in (0, 1), one for each entry, as a function of each row.

    SplitMix64 hashes the bits of a row to a key, and key and column index to a number. Rows that differ in one entry
    have practically independent numbers. No random state is used.

    Args:
        x: Shape (..., D), floating.

    Returns:
        Shape (..., D), of the dtype of x, the same on every device.
    """
    bits = (x.detach().float() + 0.0).contiguous().view(torch.int32).long()  # adding 0 maps -0 to 0
    columns = torch.arange(1, x.shape[-1] + 1, device=x.device) * _GOLDEN
    key = _mixed(_mixed(bits + columns).sum(-1, keepdim=True) + columns)
    return (_shifted(key, 64 - _BITS).to(x.dtype) + 0.5) * 2.0**-_BITS


def _mixed(numbers: Tensor) -> Tensor:
    """Apply the finalizer of SplitMix64 to 64-bit numbers."""
    numbers = (numbers ^ _shifted(numbers, 30)) * _FIRST
    numbers = (numbers ^ _shifted(numbers, 27)) * _SECOND
    return numbers ^ _shifted(numbers, 31)


def _shifted(numbers: Tensor, count: int) -> Tensor:
    """Return the logical right shift of signed 64-bit numbers."""
    return (numbers >> count) & ((1 << (64 - count)) - 1)
