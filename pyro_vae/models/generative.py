"""Generative programs p(x, z): Pyro callables that are `nn.Module`s."""

from __future__ import annotations

from typing import Any, Protocol

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyro_vae._checks import check, check_integer, check_rows
from pyro_vae._inputs import entry_of_rows
from pyro_vae._programs import Program, network_in_chunks, row_by_row
from pyro_vae.likelihoods.base import Likelihood

__all__ = ["GenerativeModel"]


class Encodes(Protocol):
    """A guide whose posterior can be had as a distribution."""

    def encode(self, x: Any) -> dist.TorchDistribution:
        """Return q(z | x) of each row."""


class GenerativeModel(Program):
    """The generative half of a variational autoencoder (Kingma & Welling 2014, section 2.1).

    `z ~ p(z)`, `x | z ~ p(x | decoder(z))`, independently for each row, in the plate `"data"`.

    Args:
        prior: Module `() -> Distribution` over z, event shape (latent_dim,).
        decoder: Network (rows, latent_dim) -> (rows, likelihood.num_outputs).
        likelihood: Module `decoder output -> Distribution` over x, event shape (data_dim,).
    """

    takes_missing = False
    """Whether rows may hold NaN, which means not observed; `fit` refuses them otherwise."""

    def __init__(self, prior: nn.Module, decoder: nn.Module, likelihood: Likelihood) -> None:
        super().__init__()
        self.prior = prior
        self.decoder = decoder
        self.likelihood = likelihood

    @property
    def latent_dim(self) -> int:
        """Size of z."""
        return int(self.prior().event_shape[0])

    def forward(self, x: Tensor | None = None, *, num_rows: int = 1) -> Tensor:
        """Run the program: score the rows `x`, or sample `num_rows` rows where x is not given.

        Args:
            x: Observed rows, shape (N, data_dim), in data units.
            num_rows: How many rows to sample where `x` is None.

        Returns:
            x, shape (N, data_dim).

        Raises:
            InputError: If x has another shape.
        """
        if x is not None:
            check_rows(x, self.likelihood.data_dim)
            num_rows = x.shape[-2]
        with pyro.plate("data", num_rows, dim=-1):
            # z ~ p(z)
            z = pyro.sample("z", self.prior())
            # x | z ~ p(x | z)
            return pyro.sample("x", self._likelihood_at(row_by_row(self.decoder, z)), obs=x)

    def _likelihood_at(self, outputs: Tensor) -> dist.TorchDistribution:
        """Return p(x | z) from the decoder's outputs, shape (..., num_outputs); other widths would broadcast."""
        check(
            outputs.shape[-1] == self.likelihood.num_outputs,
            f"Expected a decoder of {self.likelihood.num_outputs} outputs, likelihood.num_outputs of "
            f"{type(self.likelihood).__name__}; got {outputs.shape[-1]}. Change the width of its last layer.",
        )
        return self.likelihood(outputs)

    def decode(self, z: Any, batch_size: int = 1000) -> dist.TorchDistribution:
        """Return p(x | z) for the rows of `z`, shape (N, latent_dim); in chunks, without gradients.

        Args:
            z: Codes in any container that `fit` takes rows in.
            batch_size: Rows a chunk.
        """
        (z,) = entry_of_rows(self).rows(z, "z")
        check_rows(z, self.latent_dim, "z")
        return self._likelihood_at(network_in_chunks(self.decoder, z, batch_size))

    @torch.no_grad()
    def sample(self, num_rows: int = 1, batch_size: int = 1000) -> Tensor:
        """Draw rows from p(x), in chunks.

        Args:
            num_rows: How many rows.
            batch_size: Rows a chunk.

        Returns:
            Shape (num_rows, data_dim), in data units; observation noise included. For the noiseless means use
            `model.decode(z).mean`.
        """
        check_integer(num_rows, "num_rows")
        z = self.prior().sample((num_rows,))
        return torch.cat([self.decode(chunk).sample() for chunk in z.split(batch_size)])

    def reconstruct(self, x: Any, guide: Encodes, batch_size: int = 1000) -> Tensor:
        """Return the mean of p(x | z) at the mean of q(z | x), row by row.

        Args:
            x: Rows in any container that `fit` takes, in data units.
            guide: A guide with `encode`.
            batch_size: Rows a chunk.

        Returns:
            Shape (N, data_dim), in data units.
        """
        (x,) = entry_of_rows(self).rows(x)
        chunks = x.split(batch_size)
        return torch.cat([self.decode(guide.encode(chunk).mean, batch_size).mean for chunk in chunks])
