"""Priors by name."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from pyro_vae.priors.flow import FlowPrior
from pyro_vae.priors.mixture import MixtureOfNormals
from pyro_vae.priors.normal import DiagonalNormal, StandardNormal
from pyro_vae.priors.vampprior import VampPrior

__all__ = ["PRIORS"]

MakePrior = Callable[[int, nn.Module, Tensor], nn.Module]
"""Takes the size of z, the guide and rows of the training split (as many as components); gives a prior."""

PRIORS: dict[str, MakePrior] = {
    "standard-normal": lambda latent_dim, guide, rows: StandardNormal(latent_dim),
    "diagonal-normal": lambda latent_dim, guide, rows: DiagonalNormal(latent_dim),
    "mixture": lambda latent_dim, guide, rows: MixtureOfNormals(latent_dim, len(rows)),
    "vampprior": lambda latent_dim, guide, rows: VampPrior(guide, rows),
    "flow": lambda latent_dim, guide, rows: FlowPrior(latent_dim),
}
"""Priors by the name that the command line knows them by."""
