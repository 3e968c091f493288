"""A prior of z that depends on the context."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.nn.functional import softplus

from pyro_vae._checks import check_integer
from pyro_vae._context import ContextRange
from pyro_vae._pickling import Picklable
from pyro_vae.networks.context import context_columns
from pyro_vae.networks.mlp import MLP
from pyro_vae.networks.positive import UNIT
from pyro_vae.priors.normal import SCALE_FLOOR

__all__ = ["ConditionalNormal"]


class ConditionalNormal(Picklable):
    """`z | c ~ N(loc(c), diag(scale(c)^2))` with a network of the context c (Sohn, Lee & Yan 2015, section 4.1).

    Args:
        latent_dim: Size of z.
        context_dim: Columns of the context; labels are one-hot encoded, see `context_columns`.
        hidden: Widths of the network's hidden layers.
        activation: One of `ACTIVATIONS`.

    Raises:
        InputError: If a number is not a positive integer, or the activation is unknown.
    """

    context_range = ContextRange(1, math.inf)
    like: Tensor

    def __init__(
        self, latent_dim: int, context_dim: int, hidden: Sequence[int] = (200,), activation: str = "silu"
    ) -> None:
        super().__init__()
        self.latent_dim = check_integer(latent_dim, "latent_dim")
        self.context_dim = check_integer(context_dim, "context_dim")
        self.network = MLP(context_dim, hidden, 2 * latent_dim, activation)
        # It has the network's device and precision.
        self.register_buffer("like", torch.zeros(()), persistent=False)

    def forward(self, *context: Tensor) -> dist.TorchDistribution:
        """Return p(z | context), batch shape (N,), event shape (latent_dim,), for context of (N, ...)."""
        loc, raw_scale = self.network(context_columns(context, self.context_dim, self.like)).chunk(2, dim=-1)
        return dist.Normal(loc, SCALE_FLOOR + softplus(raw_scale + UNIT)).to_event(1)

    def extra_repr(self) -> str:
        """Return the arguments shown by `repr`."""
        return f"{self.latent_dim}, context_dim={self.context_dim}"
