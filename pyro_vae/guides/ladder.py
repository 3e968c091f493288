"""The ladder guide: a top-down guide of several latent layers that shares layers with the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyro_vae._checks import check
from pyro_vae._context import ContextRange, row_by_row
from pyro_vae.distributions.joint import JointDistribution, Take
from pyro_vae.guides.layered import LayeredGuide
from pyro_vae.networks.positive import loc_and_scale
from pyro_vae.priors.normal import SCALE_FLOOR

__all__ = ["LadderGuide", "TopOfLadder", "product_of_normals"]


class LadderGuide(LayeredGuide):
    """A top-down guide that combines evidence from x with the model's conditional of each layer.

    A deterministic bottom-up pass gives `N(loc_l(x), scale_l(x)^2)` for each layer. Then, from the top down,
    `q(z_L | x) = N(loc_L, scale_L^2)` and `q(z_l | z_(l+1), ..., x)` is that evidence times the model's
    `p(z_l | z_(l+1), ...)`, normalized (Sønderby et al. 2016, eqs. 13 to 19). Guide and model share the parameters of
    the model's layers.

    Args:
        encoder: Network (rows, data_dim) -> (rows, 2 size of z1 + features): locations and raw scales of z1, then the
            features for the next layer.
        upper: For z2 to z_L, in this order: network (rows, features) -> (rows, 2 size + features), or 2 size for z_L.
        layers: The model's layers for z1 to z_(L-1), with diagonal normal distributions, such as `NormalLayer`.
        sizes: Size of each layer, such as `{"z1": 100, "z2": 50}`.
        scale_floor: The smallest scale of the evidence, in units of z. Scales reach it when the KL weight is small,
            as in warm-up; a floor of 1e-6 would vanish in the rounding of z in single precision.

    Raises:
        InputError: If the numbers of networks and layers differ.
    """

    def __init__(
        self,
        encoder: nn.Module,
        upper: Sequence[nn.Module],
        layers: Sequence[nn.Module],
        sizes: Mapping[str, int],
        scale_floor: float = SCALE_FLOOR,
    ) -> None:
        super().__init__(encoder)
        check(
            len(upper) == len(layers) == len(sizes) - 1,
            f"Expected a network for each of the {len(sizes) - 1} layers above z1, and as many of the model; got "
            f"{len(upper)} and {len(layers)}.",
        )
        self.upper = nn.ModuleList(upper)
        self.layers = nn.ModuleList(layers)
        self.sizes = dict(sizes)
        self.scale_floor = scale_floor

    def evidence(self, outputs: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
        """Return location and scale of the evidence for each layer, each (..., size), given the encoder's outputs."""
        first, *others = self.sizes
        own, features = outputs.tensor_split([2 * self.sizes[first]], dim=-1)
        found = {first: loc_and_scale(own, self.scale_floor)}
        for name, network in zip(others, self.upper, strict=True):
            own, features = row_by_row(network, features).tensor_split([2 * self.sizes[name]], dim=-1)
            found[name] = loc_and_scale(own, self.scale_floor)
        return found

    def family(self, outputs: Tensor) -> JointDistribution:
        """Return q(z | x) of all layers given the encoder's outputs, shape (..., num_outputs)."""
        evidence = self.evidence(outputs)
        *names, last = self.sizes

        def program(take: Take) -> Tensor:
            z = take(last, dist.Normal(*evidence[last]).to_event(1))
            for name, layer in zip(reversed(names), reversed(self.layers), strict=True):
                prior = layer(z).base_dist
                own = product_of_normals(evidence[name], (prior.loc, prior.scale))
                z = torch.cat([take(name, dist.Normal(*own).to_event(1)), z], dim=-1)
            return z

        return JointDistribution(program, self.sizes, outputs.shape[:-1])


class TopOfLadder(nn.Module):
    """`q(z_L | x)` of a ladder, for a `VampPrior` of the top layer.

    Args:
        guide: The ladder guide, shared.
    """

    def __init__(self, guide: LadderGuide) -> None:
        super().__init__()
        self.guide = guide

    def posterior(self, x: Tensor) -> dist.TorchDistribution:
        """Return q(z_L | x), batch shape (..., N), with gradients."""
        *_, top = self.guide.evidence(row_by_row(self.guide.encoder, x)).values()
        return dist.Normal(*top).to_event(1)

    @property
    def context_range(self) -> ContextRange:
        """Number of context tensors that the ladder takes."""
        return self.guide.context_range

    def forward(self, x: Tensor, *context: Tensor) -> dist.TorchDistribution:
        """Return `posterior(x)`."""
        return self.posterior(x)


def product_of_normals(first: tuple[Tensor, Tensor], second: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Return location and scale of the normalized product of two normal densities."""
    (loc, scale), (other_loc, other_scale) = first, second
    total = torch.hypot(scale, other_scale)
    share = (other_scale / total).square()
    return share * loc + (1 - share) * other_loc, scale * other_scale / total
