"""Network inputs for rows of tables: scaled numbers, one-hot levels, and the mask of observed entries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

import torch
from torch import Tensor, nn

from pyro_vae._checks import check, check_rows
from pyro_vae.data.as_tensor import as_tensor
from pyro_vae.data.columns import UNBOUNDED, WITH_LEVELS, Column

__all__ = ["TableFeatures"]


class TableFeatures(nn.Module):
    """`x -> (standardized numbers, one-hot levels, mask)`, zero for missing entries (NaN).

    Real columns are standardized; positive columns and counts become `log(1 + x / mean)`. The mask has one column for
    each column of x, 1 for observed entries.

    Args:
        mean: Mean of the observed entries of each column, shape (data_dim,).
        std: Their standard deviations, above 0.
        columns: Kinds and levels of the columns.

    Raises:
        InputError: If the shapes differ.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Tensor, std: Tensor, columns: Sequence[Column]) -> None:
        super().__init__()
        mean, std = as_tensor(mean, "mean"), as_tensor(std, "std")
        check(
            mean.shape == std.shape == (len(columns),),
            f"Expected mean and std of shape ({len(columns)},), one entry a column; got {tuple(mean.shape)} and "
            f"{tuple(std.shape)}.",
        )
        self.columns = tuple(columns)
        self.register_buffer("mean", mean.to(torch.get_default_dtype(), copy=True))
        self.register_buffer("std", std.to(torch.get_default_dtype(), copy=True))

    @property
    def num_features(self) -> int:
        """Number of features of a row."""
        return len(self.columns) + sum(len(c.levels) if c.kind in WITH_LEVELS else 1 for c in self.columns)

    def forward(self, x: Tensor) -> Tensor:
        """Return the features, shape (..., num_features), of rows (..., data_dim)."""
        check_rows(x, len(self.columns))
        observed = ~x.isnan()
        known = x.nan_to_num(0.0)
        parts = [
            self._features(known[..., places], places) * observed[..., places].repeat_interleave(width, -1)
            for places, width in self._runs()
        ]
        return torch.cat([*parts, observed.to(x.dtype)], dim=-1)

    def _runs(self) -> Iterator[tuple[slice, int]]:
        """Yield ranges of adjacent columns of one formula, and their number of features per column."""
        start = 0
        for (_, width), run in groupby(self.columns, key=_formula):
            stop = start + len(list(run))
            yield slice(start, stop), width
            start = stop

    def _features(self, values: Tensor, places: slice) -> Tensor:
        column, mean, std = self.columns[places.start], self.mean[places], self.std[places]
        if column.kind in WITH_LEVELS:
            levels = torch.arange(len(column.levels), device=values.device)
            return (values.unsqueeze(-1) == levels).to(values.dtype).flatten(-2)
        if column.kind in UNBOUNDED:
            return (values - mean) / std
        size = mean.clamp_min(1e-3)
        return torch.log1p(values.clamp_min(0) / size) / torch.log1p(std / size).clamp_min(0.1)


def _formula(column: Column) -> tuple[str, int]:
    """Return the formula of a column's features, and their number."""
    if column.kind in WITH_LEVELS:
        return "levels", len(column.levels)
    return "linear" if column.kind in UNBOUNDED else "logarithm", 1
