"""Base class of guides with several latent layers."""

from __future__ import annotations

from typing import Any

import pyro
import torch
from torch import Tensor

from pyro_vae._context import accepted_context
from pyro_vae.distributions.joint import JointDistribution
from pyro_vae.guides.base import AmortizedGuide

__all__ = ["LayeredGuide"]


class LayeredGuide(AmortizedGuide):
    """A guide with a site for each latent layer: "z1", nearest to x, to "zL".

    `posterior` and `encode` return q(z | x) of all layers concatenated, z1 first. Its mean is each layer's mean given
    the means of the layers drawn before it. Subclasses define in `family` how layers are drawn.
    """

    def family(self, outputs: Tensor) -> JointDistribution:
        """Return q(z | x) of all layers given the encoder's outputs."""
        raise NotImplementedError

    def posterior(self, x: Any, *context: Any) -> JointDistribution:
        """Return q(z | x, context) of all layers concatenated, as `AmortizedGuide.posterior`."""
        posterior = super().posterior(x, *context)
        assert isinstance(posterior, JointDistribution)
        return posterior

    def forward(self, x: Tensor, *context: Tensor) -> Tensor:
        """Run the program on rows `x`, shape (N, data_dim); return all layers concatenated, shape (N, size of z)."""
        posterior = self.posterior(x, *accepted_context(self.posterior, context))
        with pyro.plate("data", x.shape[-2], dim=-1):
            # z1, ..., zL ~ q(z1, ..., zL | x, context), in sequence
            return posterior.program(pyro.sample)

    def encode(self, x: Any, *context: Any, batch_size: int = 1000) -> JointDistribution:
        """Return q(z | x, context) of each row, without gradients; the encoder runs in chunks."""
        posterior = super().encode(x, *context, batch_size=batch_size)
        assert isinstance(posterior, JointDistribution)
        return JointDistribution(torch.no_grad()(posterior.program), posterior.sizes, posterior.batch_shape)
