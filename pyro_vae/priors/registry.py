"""Priors by name."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from pyro_vae.priors.flow import FlowPrior
from pyro_vae.priors.mixture import MixtureOfNormals
from pyro_vae.priors.normal import DiagonalNormal, StandardNormal
from pyro_vae.priors.vampprior import VampPrior
from pyro_vae.settings.part import load_parts

__all__ = ["PRIORS"]

MakePrior = Callable[..., nn.Module]
"""Takes the size of z, the guide and rows of the training split (as many as components); gives a prior."""


def standard_normal(latent_dim: int, guide: nn.Module, rows: Tensor) -> nn.Module:
    """Return the standard normal."""
    return StandardNormal(latent_dim)


def diagonal_normal(latent_dim: int, guide: nn.Module, rows: Tensor) -> nn.Module:
    """Return a normal with learned location and scale."""
    return DiagonalNormal(latent_dim)


def mixture(
    latent_dim: int, guide: nn.Module, rows: Tensor, prior_components: int | None = None
) -> nn.Module:
    """Return a mixture of as many normals as there are rows."""
    return MixtureOfNormals(latent_dim, len(rows))


def vampprior(
    latent_dim: int, guide: nn.Module, rows: Tensor, prior_components: int | None = None
) -> nn.Module:
    """Return a VampPrior whose learned rows start at the given ones."""
    return VampPrior(guide, rows)


def flow(latent_dim: int, guide: nn.Module, rows: Tensor) -> nn.Module:
    """Return an autoregressive flow."""
    return FlowPrior(latent_dim)


PRIORS: dict[str, MakePrior] = load_parts("prior")
"""Priors by their name on the command line, as `pyro_vae.settings.priors` declares them."""
