"""A mixture of diagonal normals with a density by one matrix product."""

from __future__ import annotations

import math
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.nn.functional import linear

from pyro_vae._compat import validate_sample

__all__ = ["NormalMixture"]


class NormalMixture(dist.MixtureSameFamily):
    """A mixture of diagonal normals, the same for every row, with a density by one matrix product.

    `log N(z; m, diag(s^2)) = (s^-2 m) . z - 1/2 s^-2 . z^2 + c` for all z and all K normals at once, without a
    tensor of K times the size of z. Computed in double precision, since the squares cancel if s is small compared to m.
    """

    support = dist.constraints.real_vector
    _single: NormalMixture | None = None

    def expand(self, batch_shape: torch.Size, _instance: Any = None) -> NormalMixture:
        """Return the mixture with another batch shape."""
        expanded: NormalMixture = super().expand(batch_shape, _instance)
        expanded._single = self._single or self
        return expanded

    def log_prob(self, value: Tensor) -> Tensor:
        """Return log p(value), shape (...,), for values of shape (..., latent_dim)."""
        validate_sample(self, value)
        single = self._single or self
        normals, log_weights = single.component_distribution.base_dist, single.mixture_distribution.logits
        z, loc, scale = value.double(), normals.loc.double(), normals.scale.double()
        precision = scale.square().reciprocal()
        constant = -(precision * loc.square() + (2 * math.pi * scale.square()).log()).sum(-1) / 2
        slopes = torch.cat([precision * loc, -precision / 2], dim=-1)
        each = linear(torch.cat([z, z.square()], dim=-1), slopes, constant + log_weights)
        return each.to(value.dtype).logsumexp(-1)
