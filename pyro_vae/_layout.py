"""The order of a tensor's entries in memory: fused optimizers go through it, whatever the shape says."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["laid_out_as"]


def laid_out_as(tensor: Tensor, other: Tensor) -> Tensor:
    """Return a tensor whose entries lie in memory in the order of another's, itself where they do already.

    The fused kernels of `torch.optim` take weights and gradients entry by entry as they lie in memory: where the two
    differ, as of a convolution in channels-last memory, each weight would move along another one's gradient.

    Args:
        tensor: Of any layout.
        other: Of the same shape, such as the parameter whose gradient `tensor` is.
    """
    if other.is_contiguous():
        return tensor.contiguous()
    if other.ndim == 4 and other.is_contiguous(memory_format=torch.channels_last):
        return tensor.contiguous(memory_format=torch.channels_last)
    if tensor.stride() == other.stride():
        return tensor
    return torch.empty_like(other).copy_(tensor)
