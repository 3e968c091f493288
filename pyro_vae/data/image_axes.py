"""The rule that determines the channel axis of a batch of images, for files, arrays and loaders."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from torch import Tensor

from pyro_vae._checks import InputError

__all__ = ["CHANNELS", "channels_first", "is_channels_last"]

CHANNELS = (1, 3, 4)
"""Numbers of channels that an image may have: grey, RGB, RGBA."""

Images = TypeVar("Images", Tensor, np.ndarray)


def is_channels_last(shape: tuple[int, ...], name: str = "x") -> bool:
    """Return whether four-dimensional rows of `shape` have their channels last.

    Channels are last if the last axis is 1, 3 or 4 and the second is not; otherwise they are first.

    Raises:
        InputError: If both axes could hold the channels.
    """
    first, last = shape[1] in CHANNELS, shape[3] in CHANNELS
    if first and last and (shape[1] > 1 or shape[3] > 1):
        raise InputError(
            f"Expected images {name} of shape (N, C, H, W) or (N, H, W, C); {tuple(shape)} can be read as both. Give "
            "grey images as (N, H, W), others flattened to (N, C * H * W), channels first."
        )
    return last and not first


def channels_first(images: Images, name: str = "x") -> Images:
    """Return images of shape (N, H, W) for one channel and (N, C, H, W) for more.

    Args:
        images: Shape (N, C, H, W) or (N, H, W, C), the latter with C of 1, 3 or 4.
        name: Name in messages.

    Raises:
        InputError: If it is ambiguous which axis holds the channels.
    """
    if is_channels_last(tuple(images.shape), name):
        images = images.movedim(3, 1) if isinstance(images, Tensor) else np.moveaxis(images, 3, 1)
    return images[:, 0] if images.shape[1] == 1 else images
