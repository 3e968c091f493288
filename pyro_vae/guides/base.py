"""Base class of guides whose parameters are a function of x and optionally context."""

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
"""Function from a number of outputs to a new encoder."""


class AmortizedGuide(Program):
    """A guide whose parameters are a function of x: `q(z | x, c) = family(encoder(x, c))` for each row.

    Subclasses define in `family` the distribution for the encoder's output. The context c is passed to encoders whose
    `forward` takes it, such as `forward(self, x, y)`, and ignored otherwise.

    Args:
        encoder: Network of x (rows, data_dim), and optionally context (rows, ...), to (rows, outputs of the family).
    """

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    @property
    def context_range(self) -> ContextRange:
        """Number of context tensors that the encoder takes."""
        return joined_range(context_range_of_network(self.encoder))

    def family(self, outputs: Tensor) -> dist.TorchDistribution:
        """Return the distribution with the encoder's `outputs` as parameters."""
        raise NotImplementedError

    def posterior(self, x: Any, *context: Any) -> dist.TorchDistribution:
        """Return q(z | x, context), batch shape (..., N), event shape (latent_dim,), with gradients.

        Args:
            x: Rows, shape (..., N, data_dim), in data units: floating tensors keep their shape, other containers are
                converted as in `fit`.
            context: Context tensors, shape (N, ...), the same for all leading dimensions.
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
        """Return q(z | x, context) of each row, in chunks, without gradients.

        Args:
            x: Rows in any container that `fit` accepts, in data units; with their context unless it is given
                separately.
            context: Arrays or tensors, shape (N, ...).
            batch_size: Rows per chunk.
        """
        x, *parts = entry_for(self).rows_and_context(x, context)
        return self.family(network_in_chunks(self.encoder, x, *parts, batch_size=batch_size))


def _in_precision(own: Tensor, part: Any) -> Tensor:
    """Return x or context as a tensor; floats get the precision of the parameter `own`."""
    part = part if isinstance(part, Tensor) else as_tensor(part, "context")
    return part.to(own.dtype) if part.is_floating_point() and part.dtype != own.dtype else part
