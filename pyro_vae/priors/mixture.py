"""A learned mixture of normals."""

from __future__ import annotations

import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from pyro_vae._checks import check_integer
from pyro_vae._pickling import Picklable
from pyro_vae.distributions.normal_mixture import NormalMixture
from pyro_vae.networks.positive import UNIT
from pyro_vae.priors.normal import SCALE_FLOOR

__all__ = ["MixtureOfNormals", "mixture_prior"]


class MixtureOfNormals(Picklable):
    """`z ~ sum_k w_k N(loc_k, diag(scale_k^2))`, all learned.

    Initial locations are drawn from N(0, 1/2) and initial variances are 1/2, so the mixture starts near the standard
    normal.

    Args:
        latent_dim: Size of z.
        num_components: Number of normals.

    Raises:
        InputError: If a number is not a positive integer.
    """

    def __init__(self, latent_dim: int, num_components: int = 10) -> None:
        super().__init__()
        check_integer(latent_dim, "latent_dim")
        check_integer(num_components, "num_components")
        self.logits = nn.Parameter(torch.zeros(num_components))
        self.loc = nn.Parameter(0.5**0.5 * torch.randn(num_components, latent_dim))
        raw_scale = torch.tensor(0.5**0.5).expm1().log() - UNIT
        self.raw_scale = nn.Parameter(raw_scale.repeat(num_components, latent_dim))

    def forward(self) -> dist.TorchDistribution:
        """Return p(z), event shape (latent_dim,)."""
        scale = SCALE_FLOOR + softplus(self.raw_scale + UNIT)
        components = dist.Normal(self.loc, scale).to_event(1)
        return NormalMixture(dist.Categorical(logits=self.logits), components)


def mixture_prior(
    latent_dim: int, guide: nn.Module, rows: Tensor, prior_components: int | None = None
) -> nn.Module:
    """Return a mixture with one normal per row."""
    return MixtureOfNormals(latent_dim, len(rows))
