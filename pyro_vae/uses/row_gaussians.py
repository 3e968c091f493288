"""A guide with one Gaussian per row, whose parameters are passed as context."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor

from pyro_vae._context import ContextRange
from pyro_vae._programs import Program
from pyro_vae.evaluate.gaps.families import Family

__all__ = ["RowGaussians", "gaussian_near"]

RIDGE = 0.05
"""Relative increase of the variances of draws, since the covariance of few draws in many dimensions is singular."""


class RowGaussians(Program):
    """`z | x_n ~ N(loc_n, L_n L_n^T)` for row n, called as `guide(x, *context, loc, L)`.

    The parameters are context, so they are split into batches together with the rows.

    Args:
        sizes: Sizes of the latent sites, in the order of their concatenation in loc and L.
    """

    num_parameters = 2

    def __init__(self, sizes: Mapping[str, int]) -> None:
        super().__init__()
        self.sizes = dict(sizes)

    @property
    def context_range(self) -> ContextRange:
        """At least loc and L."""
        return ContextRange(self.num_parameters, math.inf)

    def forward(self, x: Tensor, *context: Tensor) -> None:
        """Run the program on rows x, shape (N, data_dim), with loc (N, D) and L (N, D, D) last in the context."""
        *_, loc, scale_tril = context
        noise: list[Tensor] = []
        start = 0
        with pyro.plate("data", x.shape[-2], dim=-1):
            for name, size in self.sizes.items():
                rows = slice(start, start + size)
                own, shift = scale_tril[:, rows, rows], loc[:, rows]
                if noise:
                    before = torch.cat(noise, dim=-1).unsqueeze(-1)
                    shift = shift + (scale_tril[:, rows, :start] @ before).squeeze(-1)
                # z_l ~ q(z_l | z_1, ..., z_(l-1)), of the joint normal
                z = pyro.sample(name, dist.MultivariateNormal(shift, scale_tril=own))
                deviation = (z - shift).unsqueeze(-1)
                noise.append(torch.linalg.solve_triangular(own, deviation, upper=False).squeeze(-1))
                start += size


def gaussian_near(draws: Tensor) -> Family:
    """Return all Gaussians, `u = m + C (shift + diag(exp(log_scale)) L e)`, L unit lower triangular.

    Args:
        draws: Draws of u, shape (S, N, D); m is their mean and C C^T their covariance with its diagonal increased by
            5 %, the start of each row.
    """
    m, deviation = draws.mean(0), draws - draws.mean(0)
    covariance = torch.einsum("snd,sne->nde", deviation, deviation) / (len(draws) - 1)
    floor = covariance.diagonal(dim1=1, dim2=2)
    factor = torch.linalg.cholesky(covariance + torch.diag_embed(RIDGE * floor + 1e-8))
    size = m.shape[-1]
    rows, columns = torch.tril_indices(size, size, offset=-1, device=m.device)

    def member(parameters: Tensor) -> dist.MultivariateNormal:
        shift, log_scale, below = parameters.tensor_split([size, 2 * size], dim=-1)
        unit = torch.eye(size).to(m).expand(len(m), -1, -1).clone()
        unit[:, rows, columns] = below
        loc = m + (factor @ shift.unsqueeze(-1)).squeeze(-1)
        return dist.MultivariateNormal(loc, scale_tril=factor @ (log_scale.exp().unsqueeze(-1) * unit))

    return Family(m.new_zeros(len(m), 2 * size + len(rows)), member)
