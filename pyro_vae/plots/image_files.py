"""Rows as PNG files, one per image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pyro_vae.plots._mosaic import Range, to_rgb

__all__ = ["write_images"]


def write_images(
    folder: Path, images: Any, data_shape: Sequence[int], *, value_range: Range = (0.0, 1.0)
) -> None:
    """Write each row as `00000.png`, `00001.png`, ... of 8 bits a channel into a folder that exists.

    Args:
        folder: An existing folder.
        images: Shape (N, D) or (N, *data_shape).
        data_shape: (H, W) or (1, H, W) for grey, (3, H, W) for colour, (4, H, W) for colour with opacity, which is
            composited over white.
        value_range: Data values of black and of full brightness.

    Raises:
        InputError: If images do not match `data_shape`.
    """
    grey = len(data_shape) == 2 or data_shape[0] == 1
    rgb = (255 * to_rgb(images, data_shape, value_range, "images")).round().astype(np.uint8)
    digits = max(5, len(str(len(rgb) - 1)))
    for number, image in enumerate(rgb):
        Image.fromarray(image[..., 0] if grey else image).save(folder / f"{number:0{digits}d}.png")
