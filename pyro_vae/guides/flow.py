"""Guides that are normalizing flows: any invertible map of noise, conditioned on x."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyro.distributions as dist
import torch
from pyro.distributions import transforms
from pyro.nn import ConditionalAutoRegressiveNN
from torch import Tensor, nn

from pyro_vae._checks import check_integer
from pyro_vae.guides.base import AmortizedGuide
from pyro_vae.guides.normal import UNIT, loc_and_scale
from pyro_vae.networks import shrink_outputs

__all__ = ["FlowGuide", "inverse_autoregressive", "spline_autoregressive"]

MOMENT_DRAWS = 256
BINS = 8


class _Flow(dist.TransformedDistribution):
    """A flow whose moments are those of 256 fixed draws: it has none in closed form."""

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
    """`z = loc(x) + scale(x) T_n(... T_1(e))`, `e ~ N(0, I)`, with maps T that see a context from the encoder.

    The density is exact (Rezende & Mohamed 2015, eq. 5). Where the maps are the identity it is the diagonal
    normal; the maps of this module start near it. Mean and variance of `posterior(x)` are those of fixed draws.

    Args:
        encoder: Network (..., data_dim) -> (..., 2 latent_dim + context_dim): locations, raw scales, context.
        latent_dim: Size of z.
        maps: Pyro's conditional transforms, applied in turn, such as `inverse_autoregressive` gives.
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
        """Return the flow that `outputs`, shape (..., 2 latent_dim + context_dim), name."""
        first, context = outputs.tensor_split([2 * self.latent_dim], dim=-1)
        loc, scale = loc_and_scale(first, self.scale_floor)
        noise = dist.Normal(torch.zeros_like(loc), torch.ones_like(scale)).to_event(1)
        modules: Any = self.maps
        maps = [module.condition(context) for module in modules]
        # Each step keeps its last input, so that own samples are scored without going back through the maps.
        return _Flow(noise, [*maps, transforms.AffineTransform(loc, scale, event_dim=1, cache_size=1)])


def _network(
    latent_dim: int, context_dim: int, hidden: Sequence[int], param_dims: Sequence[int], reverse: bool
) -> ConditionalAutoRegressiveNN:
    """Return a masked network in the order of the dimensions or its reverse, with small outputs."""
    check_integer(latent_dim, "latent_dim of a flow", minimum=2)
    widths = [max(check_integer(width, "every width of a flow"), latent_dim) for width in hidden]
    order = torch.arange(latent_dim).flip(0) if reverse else torch.arange(latent_dim)
    network = ConditionalAutoRegressiveNN(
        latent_dim, context_dim, widths, param_dims, permutation=order, nonlinearity=nn.ELU()
    )
    shrink_outputs(network, 0)
    nn.init.zeros_(network.layers[-1].bias)
    return network


class _InverseAutoregressive(transforms.ConditionalAffineAutoregressive):
    """Pyro's, with an order of plain numbers: a loop over a tensor cannot be traced into a graph."""

    def __init__(self, network: ConditionalAutoRegressiveNN) -> None:
        super().__init__(network)
        self.order = network.permutation.tolist()

    def condition(self, context: Tensor) -> transforms.AffineAutoregressive:
        """Return the map at a context."""
        conditioned = super().condition(context)
        conditioned.arn.permutation = self.order
        return conditioned


def inverse_autoregressive(
    latent_dim: int, context_dim: int, hidden: Sequence[int] = (64,), num_maps: int = 2
) -> list[transforms.ConditionalTransformModule]:
    """Return maps `y_d = m_d + s_d e_d` with m_d and s_d seen from e_1 ... e_(d-1) and a context (Kingma et al. 2016).

    They start near the identity; every second one goes through the dimensions from the last to the first. Own
    samples are scored at once, other points one dimension at a time.

    Args:
        latent_dim: Size of z, at least 2.
        context_dim: Size of the context.
        hidden: Widths of each map's masked network; at least `latent_dim` is taken.
        num_maps: How many.

    Raises:
        InputError: If a number is out of range.
    """
    return [
        _InverseAutoregressive(_network(latent_dim, context_dim, hidden, (1, 1), reverse=bool(number % 2)))
        for number in range(check_integer(num_maps, "num_maps"))
    ]


def spline_autoregressive(
    latent_dim: int, context_dim: int, hidden: Sequence[int] = (64,), num_maps: int = 2, bound: float = 4.0
) -> list[transforms.ConditionalTransformModule]:
    """Return maps that bend each dimension by a monotone rational spline (Dolatabadi et al. 2020; Durkan et al. 2019).

    The spline of a dimension is seen from those before it and a context; beyond `bound` it is the identity, near
    which it also starts.

    Args:
        latent_dim: Size of z, at least 2.
        context_dim: Size of the context.
        hidden: Widths of each map's masked network; at least `latent_dim` is taken.
        num_maps: How many.
        bound: Where the spline ends, in standard deviations of the noise.

    Raises:
        InputError: If a number is out of range.
    """
    param_dims = (BINS, BINS, BINS - 1, BINS)
    maps = []
    for number in range(check_integer(num_maps, "num_maps")):
        network = _network(latent_dim, context_dim, hidden, param_dims, reverse=bool(number % 2))
        with torch.no_grad():
            # Widths, heights and slopes of the identity: equal bins, and a slope of softplus(UNIT) = 1.
            network.layers[-1].bias.view(sum(param_dims), latent_dim)[2 * BINS : 3 * BINS - 1] = UNIT
        maps.append(
            transforms.ConditionalSplineAutoregressive(latent_dim, network, count_bins=BINS, bound=bound)
        )
    return maps
