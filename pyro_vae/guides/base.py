"""A guide whose parameters are a function of x."""

from __future__ import annotations

from typing import Any

import pyro
import pyro.distributions as dist
from torch import Tensor, nn

from pyro_vae._inputs import entry_of_rows
from pyro_vae._programs import Program, network_in_chunks, row_by_row

__all__ = ["AmortizedGuide"]


class AmortizedGuide(Program):
    """A guide whose parameters are a function of x: `q(z | x) = family(encoder(x))`, row by row.

    A subclass says in `family` what the encoder's output means.

    Args:
        encoder: Network (rows, data_dim) -> (rows, outputs that the family takes).
    """

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def family(self, outputs: Tensor) -> dist.TorchDistribution:
        """Return the member of the family that the encoder's `outputs` name."""
        raise NotImplementedError

    def posterior(self, x: Any) -> dist.TorchDistribution:
        """Return q(z | x), batch shape (..., N), event shape (latent_dim,), with gradients.

        Args:
            x: Rows, shape (..., N, data_dim), in data units: floating tensors keep their shape, other containers are
                read as `fit` reads them.
        """
        if not (isinstance(x, Tensor) and x.is_floating_point()):
            (x,) = entry_of_rows(self).rows(x)
        own = next(self.parameters(), x)
        x = x if x.dtype == own.dtype else x.to(own.dtype)
        return self.family(row_by_row(self.encoder, x))

    def forward(self, x: Tensor, *_: Any) -> Tensor:
        """Run the program on the rows `x`, shape (N, data_dim); return z, shape (N, latent_dim)."""
        posterior = self.posterior(x)
        with pyro.plate("data", x.shape[-2], dim=-1):
            # z ~ q(z | x)
            return pyro.sample("z", posterior)

    def encode(self, x: Any, batch_size: int = 1000) -> dist.TorchDistribution:
        """Return q(z | x) of each row; in chunks, without gradients.

        Args:
            x: Rows in any container that `fit` takes, in data units.
            batch_size: Rows a chunk.
        """
        (x,) = entry_of_rows(self).rows(x)
        return self.family(network_in_chunks(self.encoder, x, batch_size))
