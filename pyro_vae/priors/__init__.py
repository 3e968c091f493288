"""Priors p(z): modules that return a distribution when called without arguments."""

from pyro_vae.priors.conditional import ConditionalNormal
from pyro_vae.priors.discrete import LearnedStates, UniformStates
from pyro_vae.priors.flow import FlowPrior
from pyro_vae.priors.hierarchical import HierarchicalPrior, NormalLayer
from pyro_vae.priors.mixture import MixtureOfNormals
from pyro_vae.priors.normal import DiagonalNormal, StandardNormal
from pyro_vae.priors.registry import PRIORS
from pyro_vae.priors.vampprior import VampPrior

__all__ = [
    "PRIORS",
    "ConditionalNormal",
    "DiagonalNormal",
    "FlowPrior",
    "HierarchicalPrior",
    "LearnedStates",
    "MixtureOfNormals",
    "NormalLayer",
    "StandardNormal",
    "UniformStates",
    "VampPrior",
]
