"""A guide without amortization: parameters for each row."""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import Tensor, nn

from pyro_vae._checks import InputError, check_integer, check_rows
from pyro_vae._context import ContextRange, accepted_context
from pyro_vae._pickling import Picklable
from pyro_vae.data.entry import Entry
from pyro_vae.guides.normal import DiagonalNormalGuide

__all__ = ["LocalGuide"]


class LocalGuide(DiagonalNormalGuide):
    """`z | x_n ~ N(loc_n, diag(scale_n^2))` for given rows, each with its own loc_n and scale_n.

    The amortization gap is the ELBO of this fitted guide minus that of `DiagonalNormalGuide` (Cremer et al. 2018).
    Equal rows share their parameters; unknown rows raise an error. A training split that is dequantized anew in each
    epoch therefore cannot be used, its fixed draw can. The look-up depends on data, so training is not compiled.

    Args:
        x: The rows, shape (N, data_dim).
        latent_dim: Size of z.
        scale_floor: The smallest scale, in units of z.
        context: Context tensors, shape (N, ...), which also distinguish rows.

    Raises:
        InputError: If x is not of that shape, or `latent_dim` is not a positive whole number.
    """

    def __init__(
        self, x: Tensor, latent_dim: int, scale_floor: float = 1e-6, context: tuple[Tensor, ...] = ()
    ) -> None:
        x, *others = Entry(most=1 + len(context)).rows((x, *context) if context else x)
        check_rows(x, x.shape[-1])
        check_integer(latent_dim, "latent_dim")
        super().__init__(_Table(self.num_outputs(latent_dim), x, *others), scale_floor)

    @classmethod
    def from_guide(cls, guide: DiagonalNormalGuide, x: Tensor, *context: Tensor) -> Self:
        """Return a guide for the rows `x`, shape (N, data_dim), that starts at the parameters of an amortized guide."""
        context = accepted_context(guide, context)
        with torch.no_grad():
            outputs = guide.encoder(x, *context)
        local = cls(x, outputs.shape[-1] // 2, guide.scale_floor, context).to(outputs)
        table: Any = local.encoder
        with torch.no_grad():
            table.values[table.index(x, *context)] = outputs
        return local


class _Table(Picklable):
    """Parameters by row, looked up by the content of the row."""

    keys: Tensor
    multipliers: Tensor

    def __init__(self, num_outputs: int, *columns: Tensor) -> None:
        super().__init__()
        joined = _joined(columns)
        self.num_columns = [part.shape[1:].numel() for part in columns]
        generator = torch.Generator().manual_seed(0)
        multipliers = torch.randint(-(2**62), 2**62, joined.shape[-1:], generator=generator)
        # Odd numbers are invertible modulo 2^64: rows that differ in one column have different keys.
        self.register_buffer("multipliers", (2 * multipliers + 1).to(joined.device))
        self.register_buffer("keys", self._keys(joined).unique())
        self.values = nn.Parameter(torch.zeros(len(self.keys), num_outputs, device=joined.device))

    @property
    def context_range(self) -> ContextRange:
        """The number of context tensors that the table was made for."""
        count = len(self.num_columns) - 1
        return ContextRange(count, count)

    def forward(self, x: Tensor, *context: Tensor) -> Tensor:
        """Return the parameters of the rows `x`, shape (..., num_outputs)."""
        return self.values[self.index(x, *context)]

    def index(self, x: Tensor, *context: Tensor) -> Tensor:
        """Return the indices of rows in the table, shape (...)."""
        check_rows(x, self.num_columns[0])
        keys = self._keys(_joined((x, *context)) if context else x)
        index = torch.searchsorted(self.keys, keys).clamp_max(len(self.keys) - 1)
        unknown = int((self.keys[index] != keys).sum())
        if unknown:
            raise InputError(
                f"Expected rows that LocalGuide was made for; {unknown} of {keys.numel()} are others. It has no "
                "parameters for them: make another LocalGuide, or take an amortized guide."
            )
        return index

    def _keys(self, rows: Tensor) -> Tensor:
        """Return a 64-bit number for each row, from the bits of its columns in single precision."""
        bits = (rows.detach().float() + 0.0).contiguous().view(torch.int32)  # adding 0 maps -0 to 0
        return (bits.long() * self.multipliers).sum(-1)


def _joined(columns: tuple[Tensor, ...]) -> Tensor:
    """Return x and context concatenated, shape (N, columns of all)."""
    x, *context = columns
    return torch.cat([x, *(part.reshape(len(x), -1).to(x.dtype) for part in context)], dim=-1)
