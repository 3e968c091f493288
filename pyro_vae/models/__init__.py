"""Generative programs p(x, z): Pyro callables that are `nn.Module`s."""

from pyro_vae.models.generative import GenerativeModel
from pyro_vae.models.hierarchical import HierarchicalModel
from pyro_vae.models.linear import LinearGaussianModel

__all__ = ["GenerativeModel", "HierarchicalModel", "LinearGaussianModel"]
