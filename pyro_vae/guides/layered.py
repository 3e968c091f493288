"""What guides of several latent layers share."""

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

    `posterior` and `encode` give q(z | x) of all layers joined, z1 first, whose mean is each layer's mean given the
    means of those drawn before it. A subclass says in `family` how the layers are drawn from the encoder's output.
    """

    def family(self, outputs: Tensor) -> JointDistribution:
        """Return q(z | x) of all layers, for what the encoder says of x."""
        raise NotImplementedError

    def posterior(self, x: Any, *context: Any) -> JointDistribution:
        """Return q(z | x, context) of all layers joined, as `AmortizedGuide.posterior`."""
        posterior = super().posterior(x, *context)
        assert isinstance(posterior, JointDistribution)
        return posterior

    def forward(self, x: Tensor, *context: Tensor) -> Tensor:
        """Run the program on the rows `x`, shape (N, data_dim); return all layers joined, shape (N, size of z)."""
        posterior = self.posterior(x, *accepted_context(self.posterior, context))
        with pyro.plate("data", x.shape[-2], dim=-1):
            # z1, ..., zL ~ q(z1, ..., zL | x, context), one after another
            return posterior.program(pyro.sample)

    def encode(self, x: Any, *context: Any, batch_size: int = 1000) -> JointDistribution:
        """Return q(z | x, context) of each row, without gradients; the encoder runs in chunks."""
        posterior = super().encode(x, *context, batch_size=batch_size)
        assert isinstance(posterior, JointDistribution)
        return JointDistribution(torch.no_grad()(posterior.program), posterior.sizes, posterior.batch_shape)
