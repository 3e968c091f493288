"""Normalizing-flow guides: invertible maps of noise, conditioned on x."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyro.distributions as dist
import torch
from pyro.distributions import transforms
from torch import Tensor, nn

from pyro_vae._checks import check_integer
from pyro_vae.distributions.invertible_maps import inverse_autoregressive, spline_autoregressive
from pyro_vae.guides.base import AmortizedGuide, MakeEncoder
from pyro_vae.guides.normal import loc_and_scale

__all__ = ["FlowGuide", "inverse_autoregressive_guide", "spline_guide"]

MOMENT_DRAWS = 256
CONTEXT_DIM = 32
"""Number of encoder outputs passed to the flow, besides location and scale."""


class _Flow(dist.TransformedDistribution):
    """A flow with moments estimated from 256 fixed draws, since it has no closed form."""

    @property
    def mean(self) -> Tensor:
        return self._draws.mean(0)

    @property
    def variance(self) -> Tensor:
        return self._draws.var(0)

    @property
    @torch.no_grad()
    def _draws(self) -> Tensor:
        loc = self.base_dist.mean
        z = torch.randn(MOMENT_DRAWS, loc.shape[-1], generator=torch.Generator().manual_seed(0)).to(loc)
        z = z.view(MOMENT_DRAWS, *[1] * (loc.ndim - 1), -1).expand(MOMENT_DRAWS, *loc.shape)
        for transform in self.transforms:
            z = transform(z)
        return z


class FlowGuide(AmortizedGuide):
    """`z = loc(x) + scale(x) T_n(... T_1(e))`, `e ~ N(0, I)`, with maps T conditioned on outputs of the encoder.

    The density is exact (Rezende & Mohamed 2015, eq. 5). With identity maps it is the diagonal normal;
    the maps of `pyro_vae.distributions.invertible_maps` start near it. Mean and variance of `posterior(x)` are
    estimated from fixed draws.

    Args:
        encoder: Network (..., data_dim) -> (..., 2 latent_dim + context_dim): locations, raw scales, context.
        latent_dim: Size of z.
        maps: Pyro's conditional transforms, applied in order, such as those of `inverse_autoregressive`.
        scale_floor: The smallest scale, in units of z.
    """

    def __init__(
        self,
        encoder: nn.Module,
        latent_dim: int,
        maps: Sequence[transforms.ConditionalTransformModule],
        scale_floor: float = 1e-6,
    ) -> None:
        super().__init__(encoder)
        self.latent_dim = check_integer(latent_dim, "latent_dim")
        self.maps = nn.ModuleList(maps)
        self.scale_floor = scale_floor

    def family(self, outputs: Tensor) -> dist.TorchDistribution:
        """Return the flow with parameters `outputs`, shape (..., 2 latent_dim + context_dim)."""
        first, context = outputs.tensor_split([2 * self.latent_dim], dim=-1)
        loc, scale = loc_and_scale(first, self.scale_floor)
        noise = dist.Normal(torch.zeros_like(loc), torch.ones_like(scale)).to_event(1)
        modules: Any = self.maps
        maps = [module.condition(context) for module in modules]
        # Each map caches its last input, so that samples are scored without inverting the maps.
        return _Flow(noise, [*maps, transforms.AffineTransform(loc, scale, event_dim=1, cache_size=1)])


def inverse_autoregressive_guide(make_encoder: MakeEncoder, latent_dim: int) -> AmortizedGuide:
    """Return a diagonal guide transformed by an inverse autoregressive flow."""
    encoder = make_encoder(2 * latent_dim + CONTEXT_DIM)
    return FlowGuide(encoder, latent_dim, inverse_autoregressive(latent_dim, CONTEXT_DIM))


def spline_guide(make_encoder: MakeEncoder, latent_dim: int) -> AmortizedGuide:
    """Return a diagonal guide transformed by a spline flow."""
    encoder = make_encoder(2 * latent_dim + CONTEXT_DIM)
    return FlowGuide(encoder, latent_dim, spline_autoregressive(latent_dim, CONTEXT_DIM))
