"""Generative programs p(x, z): Pyro callables that are `nn.Module`s."""

from pyro_vae.models.generative import GenerativeModel
from pyro_vae.models.hierarchical import HierarchicalModel
from pyro_vae.models.linear import LinearGaussianModel
from pyro_vae.models.semi_supervised import SemiSupervisedModel

__all__ = ["GenerativeModel", "HierarchicalModel", "LinearGaussianModel", "SemiSupervisedModel"]
