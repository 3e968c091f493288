"""A guide whose parameters are a function of x."""

from __future__ import annotations

from typing import Any

import pyro
import pyro.distributions as dist
from torch import Tensor, nn

from pyro_vae._programs import Program, network_in_chunks

__all__ = ["AmortizedGuide"]


class AmortizedGuide(Program):
    """A guide whose parameters are a function of x: `q(z | x) = family(encoder(x))`, row by row.

    A subclass says in `family` what the encoder's output means.

    Args:
        encoder: Network (..., data_dim) -> (..., outputs that the family takes).
    """

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def family(self, outputs: Tensor) -> dist.TorchDistribution:
        """Return the member of the family that the encoder's `outputs` name."""
        raise NotImplementedError

    def posterior(self, x: Tensor) -> dist.TorchDistribution:
        """Return q(z | x), batch shape (..., N), event shape (latent_dim,).

        Args:
            x: Rows, shape (..., N, data_dim), in data units.
        """
        return self.family(self.encoder(x))

    def forward(self, x: Tensor, *_: Any) -> Tensor:
        """Run the program on the rows `x`, shape (N, data_dim); return z, shape (N, latent_dim)."""
        posterior = self.posterior(x)
        with pyro.plate("data", x.shape[-2], dim=-1):
            # z ~ q(z | x)
            return pyro.sample("z", posterior)

    def encode(self, x: Tensor, batch_size: int = 1000) -> dist.TorchDistribution:
        """Return q(z | x) for the rows of `x`, shape (N, data_dim); in chunks, without gradients."""
        return self.family(network_in_chunks(self.encoder, x, batch_size))
