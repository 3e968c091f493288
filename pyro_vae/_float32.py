"""Convolutions in float32 on a GPU, where cuDNN otherwise rounds their inputs to TensorFloat-32."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["float32_convolutions"]


@contextmanager
def float32_convolutions() -> Iterator[None]:
    """Compute convolutions in float32, and put torch's setting back.

    torch allows TensorFloat-32, with 10 bits of mantissa, in convolutions by default. That is exact enough for
    gradients, and not for what is reported.
    """
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before
