"""The guide of an autoencoder: a deterministic code."""

from __future__ import annotations

import pyro.distributions as dist
from torch import Tensor

from pyro_vae.guides.base import AmortizedGuide, MakeEncoder

__all__ = ["PointGuide", "point_guide"]


class PointGuide(AmortizedGuide):
    """`z = encoder(x)`: a point mass, with which a model is an autoencoder (Hinton & Salakhutdinov 2006).

    A point mass has no density, so there is no ELBO and no log p(x). Train it with `Reconstruction`; functions that
    need a density raise an error.

    Args:
        encoder: Network (..., data_dim) -> (..., latent_dim).
    """

    def family(self, outputs: Tensor) -> dist.TorchDistribution:
        """Return the point mass at `outputs`, shape (..., latent_dim)."""
        return dist.Delta(outputs, event_dim=1)

    @staticmethod
    def num_outputs(latent_dim: int) -> int:
        """Return the number of encoder outputs: the size of the code."""
        return latent_dim


def point_guide(make_encoder: MakeEncoder, latent_dim: int) -> AmortizedGuide:
    """Return a guide of deterministic codes."""
    return PointGuide(make_encoder(PointGuide.num_outputs(latent_dim)))
