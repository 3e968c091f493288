"""A bottom-up guide of several latent layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from pyro_vae._checks import check
from pyro_vae.distributions.joint import JointDistribution, Take
from pyro_vae.guides.base import AmortizedGuide
from pyro_vae.guides.layered import LayeredGuide

__all__ = ["BottomUpGuide"]


class BottomUpGuide(LayeredGuide):
    """`z1 ~ q(z1 | x)`, `z_l ~ q(z_l | z_(l-1))`, from x upwards (Burda et al. 2016, eq. 2).

    Features are additional outputs of the first encoder, passed to every layer:
    `z_l ~ q(z_l | z_(l-1), features(x))`.

    Args:
        parts: One guide per layer from z1 on; the first encoder takes x, the others the layer below concatenated
            with the features.
        sizes: Size of each layer, such as `{"z1": 100, "z2": 50}`.
        num_features: Number of features, the last outputs of the first encoder.

    Raises:
        InputError: If the numbers of guides and layers differ.
    """

    def __init__(
        self, parts: Sequence[AmortizedGuide], sizes: Mapping[str, int], num_features: int = 0
    ) -> None:
        check(
            len(parts) == len(sizes) > 0,
            f"Expected a guide for each of the {len(sizes)} layers; got {len(parts)}.",
        )
        super().__init__(parts[0].encoder)
        self.parts = nn.ModuleList(parts)
        self.sizes = dict(sizes)
        self.num_features = num_features

    def family(self, outputs: Tensor) -> JointDistribution:
        """Return q(z | x) of all layers, given the first encoder's outputs, shape (..., num_outputs)."""
        own, features = outputs.tensor_split([outputs.shape[-1] - self.num_features], dim=-1)
        first, *others = self.parts
        posterior = first.family(own)  # type: ignore[operator]

        def program(take: Take) -> Tensor:
            names = iter(self.sizes)
            layers = [take(next(names), posterior)]
            for name, part in zip(names, others, strict=True):
                inputs = torch.cat([layers[-1], features.expand(*layers[-1].shape[:-1], -1)], dim=-1)
                layers.append(take(name, part.posterior(inputs)))  # type: ignore[operator]
            return torch.cat(layers, dim=-1)

        return JointDistribution(program, self.sizes, posterior.batch_shape)
