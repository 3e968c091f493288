"""A guide whose parameters are a function of x, and of context where its encoder takes some."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyro
import pyro.distributions as dist
from torch import Tensor, nn

from pyro_vae._context import (
    ContextRange,
    accepted_context,
    context_range_of_network,
    joined_range,
    network_in_chunks,
    row_by_row,
)
from pyro_vae._inputs import entry_for
from pyro_vae._programs import Program
from pyro_vae.data.as_tensor import as_tensor

__all__ = ["AmortizedGuide", "MakeEncoder"]

MakeEncoder = Callable[[int], nn.Module]
"""Takes a number of outputs; gives a fresh encoder."""


class AmortizedGuide(Program):
    """A guide whose parameters are a function of x: `q(z | x, c) = family(encoder(x, c))`, row by row.

    A subclass says in `family` what the encoder's output means. The context c is handed to an encoder whose `forward`
    takes it, such as `forward(self, x, y)`, and ignored where the encoder takes x alone.

    Args:
        encoder: Network (rows, data_dim), and context (rows, ...) -> (rows, outputs that the family takes).
    """

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    @property
    def context_range(self) -> ContextRange:
        """How many context tensors the encoder takes."""
        return joined_range(context_range_of_network(self.encoder))

    def family(self, outputs: Tensor) -> dist.TorchDistribution:
        """Return the member of the family that the encoder's `outputs` name."""
        raise NotImplementedError

    def posterior(self, x: Any, *context: Any) -> dist.TorchDistribution:
        """Return q(z | x, context), batch shape (..., N), event shape (latent_dim,), with gradients.

        Args:
            x: Rows, shape (..., N, data_dim), in data units: floating tensors keep their shape, other containers are
                read as `fit` reads them.
            context: Rows first, (N, ...), the same for all leading dimensions.
        """
        if not (isinstance(x, Tensor) and x.is_floating_point()):
            x, *parts = entry_for(self).rows_and_context(x, context)
        else:
            own = next(self.parameters(), x)
            x, *parts = (_in_precision(own, part) for part in (x, *context))
        return self.family(row_by_row(self.encoder, x, *parts))

    def forward(self, x: Tensor, *context: Tensor) -> Tensor:
        """Run the program on the rows `x`, shape (N, data_dim); return z, shape (N, latent_dim)."""
        posterior = self.posterior(x, *accepted_context(self.posterior, context))
        with pyro.plate("data", x.shape[-2], dim=-1):
            # z ~ q(z | x, context)
            return pyro.sample("z", posterior)

    def encode(self, x: Any, *context: Any, batch_size: int = 1000) -> dist.TorchDistribution:
        """Return q(z | x, context) of each row; in chunks, without gradients.

        Args:
            x: Rows in any container that `fit` takes, in data units; with their context where it is not given apart.
            context: Arrays or tensors, rows first, (N, ...).
            batch_size: Rows a chunk.
        """
        x, *parts = entry_for(self).rows_and_context(x, context)
        return self.family(network_in_chunks(self.encoder, x, *parts, batch_size=batch_size))


def _in_precision(own: Tensor, part: Any) -> Tensor:
    """Return x or context as a tensor; floating numbers in the precision of a program's own parameter."""
    part = part if isinstance(part, Tensor) else as_tensor(part, "context")
    return part.to(own.dtype) if part.is_floating_point() and part.dtype != own.dtype else part
