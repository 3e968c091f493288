"""Float32 convolutions on a GPU, instead of cuDNN's TensorFloat-32."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["float32_convolutions"]


@contextmanager
def float32_convolutions() -> Iterator[None]:
    """Compute convolutions in float32 inside the block.

    By default torch allows TensorFloat-32, with 10 bits of mantissa, in convolutions. That is sufficient for gradients,
    but not for reported numbers.
    """
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before
