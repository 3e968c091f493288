"""Sizes of the same rows under general-purpose compressors, in bits per dimension."""

from __future__ import annotations

import gzip
import importlib
import io
import lzma
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["other_sizes"]


def other_sizes(rows: NDArray[np.int64], data_shape: Sequence[int], levels: int) -> dict[str, float]:
    """Return bits per dimension of the rows under other compressors, by name.

    PNG and lossless WebP code each image separately, with one bit per pixel for two levels. gzip, xz and zstd (if the
    package zstandard is installed) code all rows together, with one or two bytes per value, or packed bits for two
    levels.

    Args:
        rows: Levels from 0 to `levels - 1`, shape (N, data_dim).
        data_shape: Shape of a row; images are (height, width) or (1 or 3, height, width).
        levels: Number of levels.
    """
    dims = rows.size
    packed = (
        np.packbits(rows.astype(np.uint8))
        if levels == 2
        else rows.astype(np.uint8 if levels <= 256 else np.uint16)
    )
    raw = packed.tobytes()
    sizes = {"gzip": len(gzip.compress(raw, 9)), "xz": len(lzma.compress(raw, preset=9))}
    try:
        zstandard = importlib.import_module("zstandard")
        sizes["zstd"] = len(zstandard.ZstdCompressor(level=19).compress(raw))
    except ImportError:
        pass
    if levels <= 256 and (len(data_shape) == 2 or (len(data_shape) == 3 and data_shape[0] in (1, 3))):
        sizes |= _of_images(rows, data_shape, levels)
    return {name: 8 * size / dims for name, size in sizes.items()}


def _of_images(rows: NDArray[np.int64], data_shape: Sequence[int], levels: int) -> dict[str, int]:
    from PIL import Image, features

    shape = tuple(data_shape) if len(data_shape) == 3 else (1, *data_shape)
    sizes = {"PNG": 0} | ({"WebP, lossless": 0} if features.check("webp") else {})
    for row in rows.reshape(-1, *shape):
        pixels = np.moveaxis(row.astype(np.uint8), 0, -1)
        scaled = 255 * pixels if levels == 2 else pixels
        image = Image.fromarray(scaled[..., 0] if shape[0] == 1 else scaled)
        sizes["PNG"] += _size(image.convert("1") if levels == 2 else image, "PNG", optimize=True)
        if "WebP, lossless" in sizes:
            sizes["WebP, lossless"] += _size(image.convert("RGB"), "WEBP", lossless=True, quality=100)
    return sizes


def _size(image: object, kind: str, **options: object) -> int:
    file = io.BytesIO()
    image.save(file, kind, **options)  # type: ignore[attr-defined]
    return file.tell()
