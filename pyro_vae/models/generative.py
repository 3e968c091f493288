"""Generative programs p(x, z): Pyro callables that are `nn.Module`s."""

from __future__ import annotations

from typing import Any, Protocol

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyro_vae._checks import check, check_integer, check_rows
from pyro_vae._context import (
    ContextRange,
    accepted_context,
    context_range_of,
    context_range_of_network,
    joined_range,
    network_in_chunks,
    row_by_row,
)
from pyro_vae._inputs import entry_for
from pyro_vae._programs import Program
from pyro_vae.likelihoods.base import Likelihood
from pyro_vae.objectives.supports import point_of

__all__ = ["GenerativeModel"]


class Encodes(Protocol):
    """A guide that returns its posterior as a distribution."""

    def encode(self, x: Any, *context: Any) -> dist.TorchDistribution:
        """Return q(z | x, context) of each row."""


class GenerativeModel(Program):
    """The generative half of a variational autoencoder (Kingma & Welling 2014, section 2.1).

    `z ~ p(z | c)`, `x | z ~ p(x | decoder(z, c))`, independently for each row, in the plate `"data"`. The context c is
    what x is conditioned on besides z, such as labels (Sohn, Lee & Yan 2015, section 4.1). It is passed to a decoder
    and a prior whose `forward` takes it, and ignored otherwise.

    Args:
        prior: Module `() -> Distribution` over z, event shape (latent_dim,); or a module of the context, with an
            attribute `latent_dim`, that returns a distribution of batch shape (N,).
        decoder: Network of z (rows, latent_dim), and optionally context (rows, ...), to (rows, likelihood.num_outputs).
        likelihood: Module `decoder output -> Distribution` over x, event shape (data_dim,).

    Example:
        >>> import torch
        >>> from pyro_vae import GenerativeModel, StandardNormal, mlp_decoder
        >>> from pyro_vae.likelihoods import BernoulliLikelihood
        >>> x = (torch.rand(100, 6) < 0.3).float()
        >>> mean, std = x.mean(0), x.std(0)
        >>> model = GenerativeModel(StandardNormal(2), mlp_decoder(2, [8], 6), BernoulliLikelihood(mean, std))
        >>> model.sample(3).shape
        torch.Size([3, 6])
        >>> model.decode(torch.zeros(1, 2)).mean.shape
        torch.Size([1, 6])
    """

    def __init__(self, prior: nn.Module, decoder: nn.Module, likelihood: Likelihood) -> None:
        super().__init__()
        self.prior = prior
        self.decoder = decoder
        self.likelihood = likelihood

    @property
    def takes_missing(self) -> bool:
        """Whether rows may contain NaN for missing entries; otherwise `fit` raises."""
        return bool(getattr(self.likelihood, "takes_missing", False))

    @property
    def context_range(self) -> ContextRange:
        """Number of context tensors that the prior and the decoder take."""
        return joined_range(
            context_range_of_network(self.prior, beside=0), context_range_of_network(self.decoder)
        )

    @property
    def latent_dim(self) -> int:
        """Size of z."""
        if not context_range_of_network(self.prior, beside=0).least:
            return int(self.prior().event_shape[0])
        check(
            hasattr(self.prior, "latent_dim"),
            "Expected a prior that takes context to have an attribute latent_dim, the size of z; "
            f"{type(self.prior).__name__} has none.",
        )
        return int(self.prior.latent_dim)  # type: ignore[arg-type]

    def forward(self, x: Tensor | None = None, *context: Tensor, num_rows: int | None = None) -> Tensor:
        """Run the program: score the rows `x`, or sample rows if x is None.

        Args:
            x: Observed rows, shape (N, data_dim), in data units; None to sample.
            context: Context tensors, shape (N, ...).
            num_rows: Number of rows to sample if `x` is None; by default that of the context, or 1 without context.

        Returns:
            x, shape (N, data_dim).

        Raises:
            InputError: If x has another shape, or required context is missing.
        """
        if x is not None:
            check_rows(x, self.likelihood.data_dim)
            num_rows = x.shape[-2]
        elif num_rows is None:
            num_rows = len(context[0]) if context else 1
        with pyro.plate("data", num_rows, dim=-1):
            z = self._latents(*context)
            # x | z ~ p(x | z, context)
            return pyro.sample("x", self._likelihood_at(row_by_row(self.decoder, z, *context)), obs=x)

    def _latents(self, *context: Tensor) -> Tensor:
        # z ~ p(z | context)
        z: Tensor = pyro.sample("z", self._prior_at(*context))
        return z

    def _prior_at(self, *context: Tensor) -> dist.TorchDistribution:
        """Return p(z | context), or p(z) if the prior takes no context."""
        prior: dist.TorchDistribution = self.prior(*accepted_context(self.prior, context, beside=0))
        return prior

    def _likelihood_at(self, outputs: Tensor) -> dist.TorchDistribution:
        """Return p(x | z) from the decoder's outputs, shape (..., num_outputs); other widths would broadcast."""
        check(
            outputs.shape[-1] == self.likelihood.num_outputs,
            f"Expected a decoder of {self.likelihood.num_outputs} outputs, likelihood.num_outputs of "
            f"{type(self.likelihood).__name__}; got {outputs.shape[-1]}. Change the width of its last layer.",
        )
        return self.likelihood(outputs)

    def decode(self, z: Any, *context: Any, batch_size: int = 1000) -> dist.TorchDistribution:
        """Return p(x | z, context) for the rows of `z`, shape (N, latent_dim), in chunks, without gradients.

        Args:
            z: Codes, in any container that `fit` accepts.
            context: Arrays or tensors, shape (N, ...).
            batch_size: Rows per chunk.
        """
        entry = entry_for(self).of_codes(context_range_of_network(self.decoder))
        z, *parts = entry.rows_and_context(z, context, "z")
        check_rows(z, self.latent_dim, "z")
        return self._likelihood_at(network_in_chunks(self.decoder, z, *parts, batch_size=batch_size))

    @torch.no_grad()
    def sample(self, num_rows: int = 1, *context: Any, batch_size: int = 1000) -> Tensor:
        """Draw rows from p(x | context), in chunks.

        Args:
            num_rows: Number of rows.
            context: Arrays or tensors, shape (num_rows, ...).
            batch_size: Rows per chunk.

        Returns:
            Shape (num_rows, data_dim), in data units, with observation noise. For means without noise use
            `model.decode(z, *context).mean`.
        """
        z = self.sample_prior(num_rows, *context)
        context = entry_for(self).context(context, num_rows)
        chunks = zip(*(part.split(batch_size) for part in (z, *context)), strict=True)
        return torch.cat([self.decode(*chunk).sample() for chunk in chunks])

    @torch.no_grad()
    def sample_prior(self, num_rows: int = 1, *context: Any) -> Tensor:
        """Draw z from p(z | context), or p(z) if the prior takes no context.

        Args:
            num_rows: Number of rows.
            context: Context of the rows, see `sample`.

        Returns:
            Shape (num_rows, latent_dim).
        """
        check_integer(num_rows, "num_rows")
        prior = self._prior_at(*entry_for(self).context(context, num_rows))
        return prior.sample() if prior.batch_shape else prior.sample((num_rows,))

    def reconstruct(self, x: Any, guide: Encodes, *context: Any, batch_size: int = 1000) -> Tensor:
        """Return the mean of p(x | z, context) at the mean (for discrete z the mode) of q(z | x, context) of each row.

        Args:
            x: Rows in any container that `fit` accepts, in data units; with their context unless it is given
                separately.
            guide: A guide with `encode`.
            context: Arrays or tensors, shape (N, ...).
            batch_size: Rows per chunk.

        Returns:
            Shape (N, data_dim), in data units.
        """
        entry = entry_for(self).taking(
            joined_range(
                self.context_range,
                context_range_of(guide if isinstance(guide, Program) else guide.encode),
            )
        )
        rows = entry.rows_and_context(x, context)
        means = []
        for chunk in zip(*(part.split(batch_size) for part in rows), strict=True):
            z = point_of(guide.encode(*chunk[:1], *accepted_context(guide.encode, chunk[1:])))
            means.append(self.decode(z, *chunk[1:], batch_size=batch_size).mean)
        return torch.cat(means)
