"""Invertible maps of z for guides and priors: Pyro's conditional transforms, initialized near the identity."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from pyro.distributions import transforms
from pyro.nn import ConditionalAutoRegressiveNN
from torch import Tensor, nn

from pyro_vae._checks import check_integer
from pyro_vae.networks.mlp import shrink_outputs
from pyro_vae.networks.positive import UNIT

__all__ = ["inverse_autoregressive", "spline_autoregressive"]

BINS = 8
"""Number of bins of a spline."""
SMALLEST_BIN = 0.02
"""Minimum width and height of a spline bin, relative to the total of all bins."""
STEEPEST = 10.0
"""Maximum slope at a spline knot; the minimum is its inverse."""
SMALLEST_PART = 0.12
"""Minimum fraction of a bin on either side of its dividing point."""


class _ModulatedNetwork(ConditionalAutoRegressiveNN):
    """Pyro's masked network, with hidden layers also multiplied by a function of the context, `f((W h + b) (1 + V c))`.

    The first h is context and input, as in Pyro; the factor is that of Perez et al. (2018). If the context is only
    added (Kingma et al. 2016, alg. 1), the slopes of a map hardly differ between rows, and neither do the covariances
    of z.
    """

    def __init__(
        self, input_dim: int, context_dim: int, hidden_dims: Sequence[int], *args: Any, **settings: Any
    ) -> None:
        super().__init__(input_dim, context_dim, hidden_dims, *args, **settings)
        self.gates = nn.ModuleList(nn.Linear(context_dim, width, bias=False) for width in hidden_dims)

    def forward(self, x: Tensor, context: Tensor) -> Sequence[Tensor]:
        h = torch.cat([context.expand(*x.shape[:-1], -1), x], dim=-1)
        for layer, gate in zip(self.layers, self.gates, strict=False):
            h = self.f(layer(h) * (1 + gate(context)))
        parameters = self.layers[-1](h).unflatten(-1, (self.output_multiplier, self.input_dim))
        if self.all_ones:
            return parameters.unbind(-2)
        return [parameters[..., own, :] for own in self.param_slices]


def _network(
    latent_dim: int, context_dim: int, hidden: Sequence[int], param_dims: Sequence[int], reverse: bool
) -> ConditionalAutoRegressiveNN:
    """Return a masked network in the order of the dimensions or its reverse, with small outputs."""
    check_integer(latent_dim, "latent_dim of a flow", minimum=2)
    widths = [max(check_integer(width, "every width of a flow"), latent_dim) for width in hidden]
    order = torch.arange(latent_dim).flip(0) if reverse else torch.arange(latent_dim)
    kind = _ModulatedNetwork if context_dim else ConditionalAutoRegressiveNN
    network = kind(latent_dim, context_dim, widths, param_dims, permutation=order, nonlinearity=nn.ELU())
    shrink_outputs(network.layers, 0)
    nn.init.zeros_(network.layers[-1].bias)
    return network


class _InverseAutoregressive(transforms.ConditionalAffineAutoregressive):
    """Pyro's transform with its order as a list, since a loop over a tensor cannot be traced into a graph."""

    def __init__(self, network: ConditionalAutoRegressiveNN) -> None:
        super().__init__(network)
        self.order = network.permutation.tolist()

    def condition(self, context: Tensor) -> transforms.AffineAutoregressive:
        """Return the map at a context."""
        conditioned = super().condition(context)
        conditioned.arn.permutation = self.order
        return conditioned


def inverse_autoregressive(
    latent_dim: int, context_dim: int, hidden: Sequence[int] = (256,), num_maps: int = 2
) -> list[transforms.ConditionalTransformModule]:
    """Return maps `y_d = m_d + s_d e_d` with m_d and s_d functions of e_1 ... e_(d-1) and a context.

    This is the inverse autoregressive flow (Kingma et al. 2016). The context also scales the hidden units, so that
    slopes differ between rows. The maps start near the identity; every second one takes the dimensions in reverse
    order. Its own samples are scored in one pass, other points in one pass per dimension.

    Args:
        latent_dim: Size of z, at least 2.
        context_dim: Size of the context.
        hidden: Widths of each map's masked network, at least `latent_dim`.
        num_maps: Number of maps.

    Raises:
        InputError: If a number is out of range.
    """
    return [
        _InverseAutoregressive(_network(latent_dim, context_dim, hidden, (1, 1), reverse=bool(number % 2)))
        for number in range(check_integer(num_maps, "num_maps"))
    ]


class _Spline(transforms.ConditionalSplineAutoregressive):
    """Pyro's transform with bounded bins and slopes."""

    def condition(self, context: Tensor) -> transforms.SplineAutoregressive:
        """Return the map at a context."""
        conditioned = super().condition(context)
        network = conditioned.arn
        conditioned.spline.nn = lambda x: _bounded(*network(x))
        return conditioned


def _bounded(widths: Tensor, heights: Tensor, slopes: Tensor, parts: Tensor) -> tuple[Tensor, ...]:
    """Return raw parameters of a spline, of shape (..., number, latent_dim) each, within the bounds.

    Pyro takes the softmax of widths and heights, the softplus of slopes and the sigmoid of parts. Values within the
    bounds are unchanged.
    """
    smallest = math.log(SMALLEST_BIN)
    widths, heights = (
        torch.maximum(raw, raw.logsumexp(-2, keepdim=True) + smallest) for raw in (widths, heights)
    )
    flattest, steepest = (math.log(math.expm1(slope)) for slope in (1 / STEEPEST, STEEPEST))
    part = math.log(1 / SMALLEST_PART - 1)
    return widths, heights, slopes.clamp(flattest, steepest), parts.clamp(-part, part)


def spline_autoregressive(
    latent_dim: int, context_dim: int, hidden: Sequence[int] = (256,), num_maps: int = 2, bound: float = 4.0
) -> list[transforms.ConditionalTransformModule]:
    """Return monotone rational splines of each dimension (Dolatabadi et al. 2020; Durkan et al. 2019).

    The spline of a dimension depends on the previous dimensions and a context. Beyond `bound` it is the identity, and
    it is initialized near the identity. The constants of this module bound bin sizes and slopes, since nearly flat
    splines cannot be inverted in single precision.

    Args:
        latent_dim: Size of z, at least 2.
        context_dim: Size of the context.
        hidden: Widths of each map's masked network, at least `latent_dim`.
        num_maps: Number of maps.
        bound: Range of the spline, in standard deviations of the noise.

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
        maps.append(_Spline(latent_dim, network, count_bins=BINS, bound=bound))
    return maps
