"""Guides by name, each on an encoder that is made to its measure."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from pyro_vae.distributions.invertible_maps import inverse_autoregressive, spline_autoregressive
from pyro_vae.guides.base import AmortizedGuide
from pyro_vae.guides.flow import FlowGuide
from pyro_vae.guides.mixture import MixtureGuide
from pyro_vae.guides.normal import DiagonalNormalGuide, FullCovarianceGuide, LowRankGuide
from pyro_vae.networks.mlp import shrink_outputs
from pyro_vae.settings.part import load_parts

__all__ = ["GUIDES", "MakeEncoder", "MakeGuide"]

MakeEncoder = Callable[[int], nn.Module]
"""Takes a number of outputs; gives a fresh encoder."""
MakeGuide = Callable[[MakeEncoder, int], AmortizedGuide]
"""Takes what makes its encoder, and the size of z; gives a guide that starts near the diagonal normal."""

CONTEXT_DIM = 32
"""What the encoder tells a flow about x, besides location and scale."""


def diagonal(make_encoder: MakeEncoder, latent_dim: int) -> AmortizedGuide:
    """Return a diagonal normal guide."""
    return DiagonalNormalGuide(make_encoder(DiagonalNormalGuide.num_outputs(latent_dim)))


def full_covariance(make_encoder: MakeEncoder, latent_dim: int) -> AmortizedGuide:
    """Return a normal guide with all covariances, started near the diagonal one."""
    encoder = make_encoder(FullCovarianceGuide.num_outputs(latent_dim))
    return FullCovarianceGuide(shrink_outputs(encoder, 2 * latent_dim))


def low_rank(make_encoder: MakeEncoder, latent_dim: int) -> AmortizedGuide:
    """Return a normal guide with covariances of low rank, started near the diagonal one."""
    encoder = make_encoder(LowRankGuide.num_outputs(latent_dim))
    return LowRankGuide(shrink_outputs(encoder, 2 * latent_dim, factor=0.1))


def mixture(make_encoder: MakeEncoder, latent_dim: int) -> AmortizedGuide:
    """Return a guide that is a mixture of normals, started near the diagonal one."""
    encoder = make_encoder(MixtureGuide.num_outputs(latent_dim))
    return MixtureGuide(shrink_outputs(encoder, 2 * latent_dim), latent_dim)


def inverse_autoregressive_flow(make_encoder: MakeEncoder, latent_dim: int) -> AmortizedGuide:
    """Return the diagonal guide, bent by an inverse autoregressive flow."""
    encoder = make_encoder(2 * latent_dim + CONTEXT_DIM)
    return FlowGuide(encoder, latent_dim, inverse_autoregressive(latent_dim, CONTEXT_DIM))


def spline_flow(make_encoder: MakeEncoder, latent_dim: int) -> AmortizedGuide:
    """Return the diagonal guide, bent by a spline flow."""
    encoder = make_encoder(2 * latent_dim + CONTEXT_DIM)
    return FlowGuide(encoder, latent_dim, spline_autoregressive(latent_dim, CONTEXT_DIM))


GUIDES: dict[str, MakeGuide] = load_parts("guide")
"""Guides by their name on the command line, as `pyro_vae.settings.guides` declares them."""
