"""Images as `data:` URIs."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pyro_vae.plots._mosaic import to_rgb

__all__ = ["data_uris"]

QUALITY = 85
"""Quality of WebP: losses are invisible at this size, and files are a third of PNG's."""


def data_uris(
    images: Any, data_shape: Sequence[int], value_range: tuple[float, float], longest: int
) -> list[str]:
    """Return images as `data:` URIs: one-bit PNG for black and white, WebP for the others.

    Args:
        images: Shape (N, D), in data units.
        data_shape: (H, W), (1, H, W), (3, H, W) or (4, H, W).
        value_range: Data values of black and of full brightness.
        longest: Maximum length of the longer side in pixels; larger images are reduced.
    """
    pixels = np.rint(255 * to_rgb(images, data_shape, value_range, "images")).astype(np.uint8)
    return [_uri(one, longest) for one in pixels]


def _uri(pixels: NDArray[np.uint8], longest: int) -> str:
    image = Image.fromarray(pixels)
    if (pixels == pixels[..., :1]).all():
        image = image.convert("L")
    image.thumbnail((longest, longest))
    file, kind = io.BytesIO(), "webp"
    if image.mode == "L" and set(image.tobytes()) <= {0, 255}:
        kind = "png"
        image.convert("1").save(file, "PNG", optimize=True)
    else:
        image.save(file, "WEBP", quality=QUALITY, method=4)
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"
