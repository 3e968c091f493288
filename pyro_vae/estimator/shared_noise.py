"""Draws of posteriors under the same noise for every row, so that a row's draws are a function of the row alone."""

from __future__ import annotations

from functools import singledispatch
from typing import Any

import torch
from torch import Tensor
from torch import distributions as dist

from pyro_vae._checks import InputError

__all__ = ["shared_draws"]


@singledispatch
def shared_draws(posterior: Any, num_samples: int) -> Tensor:
    """Draw from a distribution of batch shape (N, ...): row n and row m differ by their parameters alone.

    Args:
        posterior: Normals of any covariance, mixtures of them, and what is transformed from these.
        num_samples: K.

    Returns:
        Shape (K, N, ..., *event), under torch's random state.

    Raises:
        InputError: If the family is another one.
    """
    raise InputError(
        f"Expected a guide of normals, of mixtures of normals or a flow of them; got {type(posterior).__name__}."
    )


def _noise(num_samples: int, like: Tensor) -> Tensor:
    """Return standard normal noise of shape (K, 1, ...) for parameters of shape (N, ...)."""
    return torch.randn(num_samples, 1, *like.shape[1:], dtype=like.dtype)


@shared_draws.register
def _(posterior: dist.Normal, num_samples: int) -> Tensor:
    return posterior.loc + posterior.scale * _noise(num_samples, posterior.loc)


@shared_draws.register
def _(posterior: dist.MultivariateNormal, num_samples: int) -> Tensor:
    noise = _noise(num_samples, posterior.loc).unsqueeze(-1)
    return posterior.loc + (posterior.scale_tril @ noise).squeeze(-1)


@shared_draws.register
def _(posterior: dist.LowRankMultivariateNormal, num_samples: int) -> Tensor:
    factor, diagonal = posterior.cov_factor, posterior.cov_diag
    common = factor @ _noise(num_samples, factor[..., 0, :]).unsqueeze(-1)
    return posterior.loc + common.squeeze(-1) + diagonal.sqrt() * _noise(num_samples, posterior.loc)


@shared_draws.register
def _(posterior: dist.Independent, num_samples: int) -> Tensor:
    return shared_draws(posterior.base_dist, num_samples)


@shared_draws.register
def _(posterior: dist.TransformedDistribution, num_samples: int) -> Tensor:
    z = shared_draws(posterior.base_dist, num_samples)
    for transform in posterior.transforms:
        z = transform(z)
    return z


@shared_draws.register
def _(posterior: dist.MixtureSameFamily, num_samples: int) -> Tensor:
    each = shared_draws(posterior.component_distribution, num_samples)  # (K, N, C, size)
    bounds = posterior.mixture_distribution.probs.cumsum(-1)[..., :-1]
    place = torch.rand(num_samples, 1, 1, dtype=bounds.dtype)
    chosen = (place > bounds).sum(-1)[..., None, None].expand(*each.shape[:2], 1, each.shape[-1])
    return each.gather(-2, chosen).squeeze(-2)
