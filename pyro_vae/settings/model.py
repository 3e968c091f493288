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

    latent_dim: int = setting(16, "Size of z; for discrete latents the number of variables.", check=size)
    layers: tuple[int, ...] = setting(
        (),
        "Sizes of several latent layers z1, z2, ..., nearest to x first, such as 100 50. Default: one layer of size "
        "--latent-dim.",
        check=layer_sizes,
    )
    layer_hidden: tuple[int, ...] = setting(
        (),
        "Widths of the hidden layers between two latent layers, from the lower to the upper one. Default: two layers "
        "whose width is 100 or the size of the lower latent layer, whichever is larger.",
        check=hidden_sizes,
    )
    inference: Literal["bottom-up", "ladder"] = setting(
        "bottom-up",
        "Guide of several latent layers: bottom-up conditions each layer on the one below, with the family of --guide. "
        "ladder (Sønderby et al. 2016) combines a Gaussian from x with the model's Gaussian given the layers above.",
    )
    skip: bool = setting(
        False,
        "Add deterministic skip connections: each latent layer and x depend on all layers above. In a bottom-up guide "
        "each layer also depends on x.",
    )
    precision: Literal["fp32", "bf16", "auto"] = setting(
        "fp32",
        "Precision of the networks' matrix products in training. auto uses bf16 if the processor has instructions for "
        "it and the networks are wide enough to gain. Densities, weights and all evaluation use fp32.",
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
        """The layers above the encoder's hidden layers as text, such as "16" or "z1(100)-100-100-z2(50)"."""
        if not self.layers:
            return self.latent_size
        parts = [f"z1({self.layers[0]})"]
        for number, (below, above) in enumerate(itertools.pairwise(self.layers), 2):
            parts += [*map(str, self.hidden_between(below)), f"z{number}({above})"]
        return "-".join(parts)

    @property
    def guide_line(self) -> str:
        """The guide as the opening lines of a run show it."""
        if not self.layers:
            of = "" if self.latent == "gaussian" else f", {self.latent} z"
            return f"{self.part('guide').line()}{of}"
        kind = "ladder" if self.inference == "ladder" else f"{self.inference}, {self.part('guide').line()}"
        return f"{kind}, with skip paths" if self.skip else kind

    def hidden_between(self, below: int) -> tuple[int, ...]:
        """Return the widths of the hidden layers above a latent layer of size `below`, lowest first."""
        return self.layer_hidden or (max(100, below),) * 2

    def check(self, config: Any) -> None:
        """Check all values that can be checked without the data, and the settings of latent layers."""
        super().check(config)
        check_layers(self, config)
