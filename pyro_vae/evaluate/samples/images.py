"""Conversion of rows to images for feature networks: three channels with values from 0 to 1."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pyro_vae._checks import check, check_integer
from pyro_vae.data.as_tensor import as_matrix, as_tensor
from pyro_vae.data.containers import whole
from pyro_vae.data.entry import Entry
from pyro_vae.data.splits import Split
from pyro_vae.evenly_spaced import evenly_spaced_rows

__all__ = ["RowsAsImages", "TrainingImages"]

BLOCK = 100
"""Images per block; larger blocks are not faster on a CPU."""


@dataclass(frozen=True)
class RowsAsImages:
    """A map from rows x to colour images with values from 0 to 1.

    Grey images are repeated to three channels; images with opacity are composited over white.

    Args:
        data_shape: (H, W) or (1, H, W) for grey, (3, H, W) for colour, (4, H, W) for colour with opacity.
        low: Data value of black.
        high: Data value of full brightness. Values outside are clipped.

    Raises:
        InputError: If rows of that shape are not images.
    """

    data_shape: tuple[int, ...]
    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        shape = self.data_shape
        check(
            len(shape) == 2 or (len(shape) == 3 and shape[0] in (1, 3, 4)),
            "Expected images for the quality of samples, of shape (height, width) or (1, 3 or 4, height, width); got "
            f"rows of shape {tuple(shape)}. Set data_shape if they are flat images, or leave these metrics out.",
        )

    def __call__(self, rows: Tensor) -> Tensor:
        """Return images, float32 of shape (N, 3, H, W), from rows of shape (N, data_dim) in data units."""
        channels = 1 if len(self.data_shape) == 2 else self.data_shape[0]
        images = rows.reshape(len(rows), channels, *self.data_shape[-2:])
        images = ((images - self.low) / (self.high - self.low)).float().clamp(0, 1)
        if channels == 4:
            return 1 - images[:, 3:] * (1 - images[:, :3])
        return images.expand(-1, 3, -1, -1)


class TrainingImages:
    """Evenly spaced training rows as images, without the noise of preprocessing for a `Split`.

    Dequantized pixels are in the middle of their level and binarized pixels have their grey value, like means of
    p(x | z).

    Args:
        data: Training rows in any container that `fit` takes; with labels if it is (x, y).
        data_shape: Shape of a row; needed for a `Split` and for flat rows.
        num_rows: Maximum number of rows.

    Attributes:
        as_images: The map from rows to images, with the range of these rows, or 0 to 1 if it contains them.
        labels: Classes, int64 (N,), or None.
        context: Context of these rows in a `Split`.
        sha256: Digest of the rows and their range.

    Raises:
        InputError: If the rows are not images.
    """

    def __init__(self, data: Any, data_shape: Sequence[int] | None = None, num_rows: int = 10_000) -> None:
        check_integer(num_rows, "num_rows")
        if isinstance(data, Split):
            self._split: Split | None = data.evenly_spaced(num_rows)
            self._count, self.labels, self.context = len(self._split), self._split.labels, self._split.context
            check(
                data_shape is not None,
                "Expected data_shape, (height, width) or with channels first; got none.",
            )
        else:
            self._split, self.context = None, ()
            self._rows, data_shape, self.labels = _some_rows(data, data_shape, num_rows)
            self._count = len(self._rows)
        shape = tuple(data_shape or ())
        RowsAsImages(shape)
        self._rows_shape = shape
        low, high, self.sha256 = self._range()
        inside = (low >= 0 and high <= 1) or low == high
        self.as_images = RowsAsImages(shape) if inside else RowsAsImages(shape, low, high)

    def __len__(self) -> int:
        return self._count

    def blocks(self, size: int = BLOCK) -> Iterator[Tensor]:
        """Yield images in order, (at most `size`, 3, H, W)."""
        return map(self.as_images, self._blocks(size))

    def _blocks(self, size: int) -> Iterator[Tensor]:
        """Yield rows of x, shape (at most `size`, data_dim), without noise."""
        for start in range(0, self._count, size):
            block = slice(start, start + size)
            if self._split is None:
                yield self._rows[block]
            else:
                stored = self._split.rows.take(torch.from_numpy(self._split.index[block]))
                mean, _ = self._split.preprocessing.moments(stored, torch.zeros(()))
                yield mean.float()

    def _range(self) -> tuple[float, float, str]:
        """Return the smallest and the largest value, and a checksum."""
        low, high, digest = np.inf, -np.inf, hashlib.sha256(repr(self._rows_shape).encode())
        for rows in self._blocks(1000):
            low, high = min(low, float(rows.min())), max(high, float(rows.max()))
            digest.update(rows.contiguous().numpy().data)
        check(bool(np.isfinite([low, high]).all()), f"Expected finite pixels; they span {low:g} to {high:g}.")
        return low, high, digest.hexdigest()


def _some_rows(
    data: Any, data_shape: Sequence[int] | None, num_rows: int
) -> tuple[Tensor, tuple[int, ...], Tensor | None]:
    """Return evenly spaced rows (N, data_dim) of another container than a `Split`, their shape, and their labels."""
    parts = whole(data)
    if parts is None:
        parts = Entry(most=2).rows(data)
    x, shape = as_matrix(as_tensor(parts[0]))
    chosen = torch.from_numpy(evenly_spaced_rows(len(x), num_rows))
    labels = as_tensor(parts[1], "labels")[chosen] if len(parts) > 1 else None
    whole_numbers = labels is not None and labels.ndim == 1 and not labels.is_floating_point()
    shape = tuple(data_shape) if data_shape is not None else shape
    check(
        int(np.prod(shape)) == x[0].numel(),
        f"Expected data_shape of {x[0].numel()} entries, as the rows have; got {shape}.",
    )
    return (
        x[chosen].cpu().float(),
        shape,
        labels.long().cpu() if whole_numbers and labels is not None else None,
    )
