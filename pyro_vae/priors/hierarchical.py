"""The prior of several latent layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyro_vae._checks import check
from pyro_vae._context import row_by_row
from pyro_vae._pickling import Picklable
from pyro_vae.distributions.joint import JointDistribution, Take
from pyro_vae.networks.positive import loc_and_scale
from pyro_vae.priors.normal import SCALE_FLOOR

__all__ = ["HierarchicalPrior", "NormalLayer"]


class NormalLayer(Picklable):
    """`z_l | z_above ~ N(loc(z_above), diag(scale(z_above)^2))`: one latent layer given those above it.

    Args:
        network: Network (rows, size of z_above) -> (rows, 2 size of z_l): locations, then raw scales.
        scale_floor: The smallest scale, in units of z.
    """

    def __init__(self, network: nn.Module, scale_floor: float = SCALE_FLOOR) -> None:
        super().__init__()
        self.network = network
        self.scale_floor = scale_floor

    def forward(self, above: Tensor) -> dist.TorchDistribution:
        """Return p(z_l | z_above), batch shape (...), for the concatenated layers above, shape (..., size)."""
        return dist.Normal(*loc_and_scale(row_by_row(self.network, above), self.scale_floor)).to_event(1)


class HierarchicalPrior(Picklable):
    """`z_L ~ p(z_L)`, `z_l | z_(l+1), ..., z_L ~ p(z_l | z_(l+1), ..., z_L)` (Sønderby et al. 2016, eqs. 1 to 3).

    A call returns the distribution of all layers concatenated, `z = (z1, ..., zL)`, z1 nearest to x.

    Args:
        top: Prior of z_L, module `() -> Distribution`, event shape (size of z_L,).
        layers: For z1 to z_(L-1), in this order: module (..., sizes above) -> Distribution, such as `NormalLayer`.
            Each is called with all layers above it concatenated, the nearest first.
        sizes: Sizes of z1 to z_L.

    Raises:
        InputError: If the numbers of sizes and layers differ.
    """

    def __init__(self, top: nn.Module, layers: Sequence[nn.Module], sizes: Sequence[int]) -> None:
        super().__init__()
        check(
            len(sizes) == len(layers) + 1,
            f"Expected the sizes of {len(layers)} layers and of the top one; got {len(sizes)} sizes.",
        )
        self.top = top
        self.layers = nn.ModuleList(layers)
        self.sizes = {f"z{number}": size for number, size in enumerate(sizes, 1)}

    def draw(self, take: Take) -> Tensor:
        """Draw each layer from its distribution, top-down, and return them concatenated, (..., size of z).

        Args:
            take: Function from the name of a layer, such as "z1", and its distribution to a value.
        """
        *names, last = self.sizes
        z = take(last, self.top())
        for name, layer in zip(reversed(names), reversed(self.layers), strict=True):
            z = torch.cat([take(name, layer(z)), z], dim=-1)
        return z

    def forward(self) -> JointDistribution:
        """Return p(z) of all layers concatenated."""
        return JointDistribution(self.draw, self.sizes)

    def redrawn(self, z: Tensor, below: int, take: Any = lambda _, p: p.sample()) -> Tensor:
        """Return z with the layers below a given one resampled from their conditionals.

        Args:
            z: All layers concatenated, shape (N, size of z).
            below: Number of the lowest layer that is kept, from 1 (all are kept) to the number of layers.
            take: Function from name and distribution of a resampled layer to its value; by default a sample.

        Raises:
            InputError: If there is no such layer.
        """
        check(
            1 <= below <= len(self.sizes),
            f"Expected the number of a layer from 1 to {len(self.sizes)}; got {below}.",
        )
        given = dict(zip(self.sizes, z.split(list(self.sizes.values()), dim=-1), strict=True))
        kept = list(self.sizes)[below - 1 :]
        return self.draw(lambda name, p: given[name] if name in kept else take(name, p))
