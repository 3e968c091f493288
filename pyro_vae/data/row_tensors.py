"""Rows that are taken as tensors: held in memory, or read from a memory-mapped array."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["MappedRows", "Rows", "TensorRows"]


@dataclass(frozen=True, eq=False)
class TensorRows:
    """Rows held in memory as one tensor (N, D) of the smallest type that fits."""

    tensor: Tensor

    def __len__(self) -> int:
        return len(self.tensor)

    @property
    def data_dim(self) -> int:
        """D, the number of entries of a row."""
        return self.tensor.shape[1]

    def take(self, index: Tensor) -> Tensor:
        """Return rows `index` (n,), as stored, of shape (n, D), on the device of the rows."""
        return self.tensor.index_select(0, index)

    def to(self, device: torch.device | str) -> TensorRows:
        """Return the rows on `device`."""
        return TensorRows(self.tensor.to(device))


@dataclass(frozen=True, eq=False)
class MappedRows:
    """Rows of a memory-mapped array (N, ...); only the requested rows are read."""

    array: NDArray
    dtype: np.dtype
    device: torch.device | str = "cpu"

    def __len__(self) -> int:
        return len(self.array)

    @property
    def data_dim(self) -> int:
        """D, the number of entries of a row."""
        return math.prod(self.array.shape[1:])

    def take(self, index: Tensor) -> Tensor:
        """Return rows `index` (n,), as stored, of shape (n, D), on the device."""
        wanted = index.numpy()
        order = np.argsort(wanted)  # read in the order of the file, then restored to the order of `index`
        rows = np.empty((len(wanted), self.data_dim), self.dtype)
        rows[order] = self.array[wanted[order]].reshape(rows.shape)
        return torch.from_numpy(rows).to(self.device)

    def to(self, device: torch.device | str) -> MappedRows:
        """Return rows that `take` returns on `device`."""
        return MappedRows(self.array, self.dtype, device)


Rows = TensorRows | MappedRows
