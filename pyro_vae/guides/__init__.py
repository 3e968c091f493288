"""Inference programs q(z | x): Pyro callables that are `nn.Module`s."""

from pyro_vae.guides.base import AmortizedGuide, MakeEncoder
from pyro_vae.guides.bottom_up import BottomUpGuide
from pyro_vae.guides.discrete import DiscreteGuide
from pyro_vae.guides.exact_linear import ExactLinearGuide
from pyro_vae.guides.flow import FlowGuide
from pyro_vae.guides.ladder import LadderGuide
from pyro_vae.guides.local import LocalGuide
from pyro_vae.guides.mixture import MixtureGuide
from pyro_vae.guides.normal import DiagonalNormalGuide, FullCovarianceGuide, LowRankGuide
from pyro_vae.guides.point import PointGuide
from pyro_vae.guides.registry import GUIDES
from pyro_vae.guides.semi_amortized import SemiAmortizedGuide
from pyro_vae.guides.semi_supervised import SemiSupervisedGuide

__all__ = [
    "GUIDES",
    "AmortizedGuide",
    "BottomUpGuide",
    "DiagonalNormalGuide",
    "DiscreteGuide",
    "ExactLinearGuide",
    "FlowGuide",
    "FullCovarianceGuide",
    "LadderGuide",
    "LocalGuide",
    "LowRankGuide",
    "MakeEncoder",
    "MixtureGuide",
    "PointGuide",
    "SemiAmortizedGuide",
    "SemiSupervisedGuide",
]
