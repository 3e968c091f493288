"""Files of zeros and ones with eight pixels per byte: unpacking and detection."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pyro_vae._checks import InputError, check
from pyro_vae.data.image_options import ImageOptions
from pyro_vae.data.stored import Stored, Survey

__all__ = ["check_not_packed", "packed_hint", "unpacked"]

FEWEST_BYTES = 32
SAMPLE = 2**18
EDGES = [2**k - 1 for k in range(1, 8)] + [256 - 2**k for k in range(1, 8)]
"""The bytes whose bits change once from one end to the other: 00000001, 00000011, ..., 10000000."""
SHARE_OF_EDGES = 0.4
"""Threshold of their share among the bytes other than 0 and 255. Packed pictures have more (binarized MNIST 0.58,
topologies 0.99), grey values less (MNIST 0.19, CIFAR-10 0.04; uniform bytes 0.06)."""


def unpacked(stored: Stored, options: ImageOptions) -> Stored:
    """Return images (N, height, width) of zeros and ones from rows of packed bits.

    Args:
        stored: Data of shape (N, B) or (N, ..., B) with B bytes a row in all, uint8; the most significant bit comes
            first, as in `numpy.packbits`, and bits beyond height x width are ignored.
        options: Image options with `packed_bits`.

    Raises:
        InputError: If rows have another type or number of bytes.
    """
    assert options.packed_bits is not None
    height, width = options.packed_bits
    num_bytes = stored.array[0].size
    check(
        stored.array.dtype == np.uint8 and num_bytes == options.packed_width(),
        f"Expected rows of {options.packed_width()} bytes (uint8) in {stored.name} for --packed-bits {height} {width}, "
        f"eight pixels a byte; got {num_bytes} values of type {stored.array.dtype}. Give the size of the images, or "
        "leave it out where pixels are stored one by one.",
    )
    rows = np.unpackbits(stored.array.reshape(-1, num_bytes), axis=1, count=height * width)
    note = f"{num_bytes} bytes a row were unpacked to {height} x {width} zeros and ones."
    rows = rows.reshape(-1, height, width)
    return replace(stored, array=rows, notes=(*stored.notes, note), image_options=options)


def check_not_packed(stored: Stored, found: Survey) -> None:
    """Raise `InputError` if rows are evidently packed bits, which are meaningless as grey values.

    Args:
        stored: The data as read.
        found: Result of `survey`.
    """
    if found.high <= 1 or not _may_be_packed(stored.array) or not _is_packed(stored.array):
        return
    raise InputError(
        f"Expected pixels in {stored.name}; got rows of {stored.array[0].size} bytes that look like bits, eight pixels "
        f"a byte. {_option(stored.array)} If they are grey values, store them as (N, height, width) or as int16."
    )


def packed_hint(stored: Stored, found: Survey) -> str:
    """Return a note if rows of bytes could be packed bits of square images, else an empty string.

    Args:
        stored: The data as read.
        found: Result of `survey`.
    """
    width = stored.array[0].size
    square = math.isqrt(8 * width) ** 2 == 8 * width
    if found.high <= 1 or stored.array.ndim != 2 or not square or not _may_be_packed(stored.array):
        return ""
    return f"{width} bytes a row were taken as {width} grey values. {_option(stored.array, 'If they are bits, p')}"


def _may_be_packed(array: NDArray) -> bool:
    return array.dtype == np.uint8 and array.ndim in (2, 3) and array[0].size >= FEWEST_BYTES


def _is_packed(array: NDArray) -> bool:
    """Return whether bytes look like eight pixels of a picture: equal or with one edge, each bit set about as often."""
    rows = array[:: -(-array.size // SAMPLE)].ravel()
    between = rows[(rows > 0) & (rows < 255)]
    often = np.unpackbits(rows[:, None], axis=1).mean(0)
    with_edge = np.isin(between, EDGES)
    # Grey pictures of three values, such as 0, 128 and 255, have one kind of edge.
    all_kinds = len(np.unique(between[with_edge])) > len(EDGES) / 2
    return all_kinds and bool(with_edge.mean() > SHARE_OF_EDGES and often.min() > often.max() / 2)


def _option(array: NDArray, start: str = "P") -> str:
    """Return the option that unpacks rows, with the size of the images if their shape determines it."""
    side = math.isqrt(8 * array[0].size)
    if array.ndim == 3:
        size = f"{array.shape[1]} {8 * array.shape[2]}"
    else:
        size = f"{side} {side}" if side**2 == 8 * array.shape[1] else "HEIGHT WIDTH"
    return f"{start}ass --packed-bits {size}{' with the size of the images' * (size == 'HEIGHT WIDTH')}."
