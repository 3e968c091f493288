"""Settings of the generative model and the guide."""

from __future__ import annotations

from typing import Literal

from pyro_vae.settings.checks import size
from pyro_vae.settings.declare import setting
from pyro_vae.settings.group import Group, group
from pyro_vae.settings.guides import GuidePart
from pyro_vae.settings.likelihoods import LikelihoodPart
from pyro_vae.settings.networks import NetworkPart
from pyro_vae.settings.priors import PriorPart

__all__ = ["ModelConfig"]


@group(LikelihoodPart, GuidePart, PriorPart, NetworkPart)
class ModelConfig(Group):
    """The generative model and the guide."""

    latent_dim: int = setting(16, "Size of z.", check=size)
    precision: Literal["fp32", "bf16", "auto"] = setting(
        "fp32",
        "Of the networks' matrix products in training; auto takes bf16 where the processor has instructions for it and "
        "the networks are wide enough to gain. Densities, weights and all evaluation are in fp32.",
        shown="products in {} in training",
        unless="fp32",
    )
