"""Memory layout of tensors, which must match for fused optimizers."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["laid_out_as"]


def laid_out_as(tensor: Tensor, other: Tensor) -> Tensor:
    """Return a tensor with the memory layout of another; the same tensor if it already has it.

    The fused kernels of `torch.optim` process weights and gradients in memory order. If layouts differ, as for
    convolutions in channels-last format, weights would be updated with the gradients of others.

    Args:
        tensor: A tensor of any layout.
        other: A tensor of the same shape, such as the parameter with gradient `tensor`.
    """
    if other.is_contiguous():
        return tensor.contiguous()
    if other.ndim == 4 and other.is_contiguous(memory_format=torch.channels_last):
        return tensor.contiguous(memory_format=torch.channels_last)
    if tensor.stride() == other.stride():
        return tensor
    return torch.empty_like(other).copy_(tensor)
