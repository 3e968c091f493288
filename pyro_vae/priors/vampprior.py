"""The guide's posterior averaged over learned rows."""

from __future__ import annotations

import math
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyro_vae._checks import check
from pyro_vae._context import context_range_of
from pyro_vae._pickling import Picklable
from pyro_vae.data.entry import Entry
from pyro_vae.distributions.normal_mixture import NormalMixture

__all__ = ["VampPrior", "vampprior_of_guide"]


class VampPrior(Picklable):
    """`z ~ (1/K) sum_k q(z | u_k)`, the guide's posterior averaged over learned rows (Tomczak & Welling 2018, eq. 9).

    Prior and guide share the guide's parameters, which are trained, saved and loaded once. Every z is scored under
    all K posteriors, which is slow for flow guides.

    Args:
        guide: Module with `posterior(x)`.
        rows: Initial pseudo-inputs u_k, shape (K, data_dim), in data units; rows of the training split.

    Raises:
        InputError: If `rows` is not of that shape, or the guide takes context.

    Example:
        >>> import torch
        >>> from pyro_vae import DiagonalNormalGuide, VampPrior, mlp_encoder
        >>> x = torch.randn(100, 6)
        >>> guide = DiagonalNormalGuide(mlp_encoder(x.mean(0), x.std(0), [8], 2 * 2))
        >>> prior = VampPrior(guide, x[:10])  # ten components
        >>> prior().sample().shape
        torch.Size([2])
    """

    center: Tensor
    spread: Tensor

    def __init__(self, guide: nn.Module, rows: Tensor) -> None:
        super().__init__()
        taken = context_range_of(guide)
        check(
            taken.least == 0 and taken.most in (0, math.inf),
            "Expected a guide without context, because pseudo-inputs have none; this one takes context. Use another "
            "prior, or a guide without context.",
        )
        (rows,) = Entry(most=1, dtype=torch.get_default_dtype()).rows(rows, "pseudo-inputs")
        check(
            rows.ndim == 2 and len(rows) > 0,
            f"Expected pseudo-inputs of shape (K, data_dim) with at least one row; got {tuple(rows.shape)}.",
        )
        self.guide: Any = guide
        # Pseudo-inputs are learned in units of each column's standard deviation.
        spread = rows.std(0, correction=0)
        self.register_buffer("center", rows.mean(0))
        self.register_buffer("spread", torch.where(spread > 0, spread, torch.ones_like(spread)))
        self.raw_inputs = nn.Parameter((rows - self.center) / self.spread)

    @property
    def pseudo_inputs(self) -> Tensor:
        """u, shape (K, data_dim), in data units."""
        return self.center + self.spread * self.raw_inputs

    def forward(self) -> dist.TorchDistribution:
        """Return p(z), event shape (latent_dim,).

        Raises:
            InputError: If the guide's posteriors are point masses.
        """
        weights = dist.Categorical(logits=torch.zeros_like(self.raw_inputs[:, 0]))
        posteriors = self.guide.posterior(self.pseudo_inputs)
        check(
            not isinstance(posteriors, dist.Delta),
            "Expected a guide with a density for a VampPrior, a mixture of its posteriors; got a point guide. Use "
            "another prior or guide.",
        )
        normal = isinstance(posteriors, dist.Independent) and isinstance(posteriors.base_dist, dist.Normal)
        return (NormalMixture if normal else dist.MixtureSameFamily)(weights, posteriors)


def vampprior_of_guide(
    latent_dim: int, guide: nn.Module, rows: Tensor, prior_components: int | None = None
) -> nn.Module:
    """Return a VampPrior with the given initial pseudo-inputs."""
    return VampPrior(guide, rows)
