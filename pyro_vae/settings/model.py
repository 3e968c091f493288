"""Settings of the generative model and the guide."""

from __future__ import annotations

import itertools
from typing import Any, Literal

from pyro_vae.settings.checks import size
from pyro_vae.settings.context import ContextPart
from pyro_vae.settings.corruption import CorruptionPart
from pyro_vae.settings.declare import setting
from pyro_vae.settings.group import Group, group
from pyro_vae.settings.guides import GuidePart
from pyro_vae.settings.latents import LatentPart
from pyro_vae.settings.layers import check_layers, hidden_sizes, layer_sizes
from pyro_vae.settings.likelihoods import LikelihoodPart
from pyro_vae.settings.networks import NetworkPart
from pyro_vae.settings.priors import PriorPart

__all__ = ["ModelConfig"]


@group(LikelihoodPart, LatentPart, GuidePart, PriorPart, NetworkPart, ContextPart, CorruptionPart)
class ModelConfig(Group):
    """The generative model and the guide."""

    latent_dim: int = setting(16, "Size of z, or its variables where they are discrete.", check=size)
    layers: tuple[int, ...] = setting(
        (),
        "Sizes of several latent layers z1, z2, ..., nearest to x first, such as 100 50; where not given there is one, "
        "of --latent-dim.",
        check=layer_sizes,
    )
    layer_hidden: tuple[int, ...] = setting(
        (),
        "Widths of the hidden layers between two latent layers, from the lower one upwards; where not given, "
        "two of 100 or, where that is more, of the lower one's size.",
        check=hidden_sizes,
    )
    inference: Literal["bottom-up", "ladder"] = setting(
        "bottom-up",
        "Guide of several latent layers: each given the one below, of the family of --guide, or a ladder (Sønderby et "
        "al. 2016), which merges what x says of each layer with what the layers above say.",
    )
    skip: bool = setting(
        False,
        "Deterministic skip paths past the latent layers: each layer, and x, depends on all layers above it, and the "
        "bottom-up guide's layers on x beside the layer below.",
    )
    precision: Literal["fp32", "bf16", "auto"] = setting(
        "fp32",
        "Of the networks' matrix products in training; auto takes bf16 where the processor has instructions for it and "
        "the networks are wide enough to gain. Densities, weights and all evaluation are in fp32.",
        shown="products in {} in training",
        unless="fp32",
    )

    @property
    def sizes(self) -> tuple[int, ...]:
        """Sizes of the latent layers, nearest to x first."""
        return self.layers or (self.latent_dim,)

    @property
    def latent_size(self) -> str:
        """The sizes as text, such as "100-50", or "20 x 10" of discrete variables and their states."""
        return "-".join(map(self.part("latent").size, self.sizes))

    @property
    def path(self) -> str:
        """What a row passes after the encoder's hidden layers, such as "16" or "z1(100)-100-100-z2(50)"."""
        if not self.layers:
            return self.latent_size
        parts = [f"z1({self.layers[0]})"]
        for number, (below, above) in enumerate(itertools.pairwise(self.layers), 2):
            parts += [*map(str, self.hidden_between(below)), f"z{number}({above})"]
        return "-".join(parts)

    @property
    def guide_line(self) -> str:
        """What the opening lines of a run show of the guide."""
        if not self.layers:
            of = "" if self.latent == "gaussian" else f", {self.latent} z"
            return f"{self.part('guide').line()}{of}"
        kind = "ladder" if self.inference == "ladder" else f"{self.inference}, {self.part('guide').line()}"
        return f"{kind}, with skip paths" if self.skip else kind

    def hidden_between(self, below: int) -> tuple[int, ...]:
        """Return the widths of the hidden layers above a latent layer of size `below`, from it upwards."""
        return self.layer_hidden or (max(100, below),) * 2

    def check(self, config: Any) -> None:
        """Check every value that needs no data, and what latent layers go with."""
        super().check(config)
        check_layers(self, config)
