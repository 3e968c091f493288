"""A linear Gaussian model whose rows may have missing entries, with its exact posterior, as plain Pyro programs."""

from __future__ import annotations

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyro_vae.baselines import PPCA


class NormalWithHoles(dist.TorchDistribution):
    """Independent normal entries, of which NaN are left out of the log-probability."""

    support = dist.constraints.real_vector
    arg_constraints = {}  # noqa: RUF012

    def __init__(self, loc: Tensor, scale: Tensor) -> None:
        self.base = dist.Normal(loc, scale, validate_args=False)
        super().__init__(loc.shape[:-1], loc.shape[-1:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        return self.base.mean

    @property
    def variance(self) -> Tensor:
        return self.base.variance

    def sample(self, sample_shape: tuple[int, ...] = ()) -> Tensor:
        return self.base.sample(torch.Size(sample_shape))

    def cell_log_prob(self, x: Tensor) -> Tensor:
        return torch.where(x.isnan(), 0.0, self.base.log_prob(x.nan_to_num()))

    def log_prob(self, x: Tensor) -> Tensor:
        return self.cell_log_prob(x).sum(-1)


class LinearPrograms(nn.Module):
    """The model and, widened by a factor, the exact posterior of a fitted PPCA, given the observed entries."""

    def __init__(self, fitted: PPCA, widen: float = 1.0) -> None:
        super().__init__()
        self.weight = torch.from_numpy(fitted.components_.copy())
        self.loc, self.variance = torch.from_numpy(fitted.mean_.copy()), float(fitted.noise_variance_)
        self.widen = widen

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", x.shape[-2], dim=-1):
            z = pyro.sample("z", dist.Normal(torch.zeros(len(self.weight), dtype=x.dtype), 1.0).to_event(1))
            scale = torch.full_like(self.loc, self.variance**0.5)
            pyro.sample("x", NormalWithHoles(z @ self.weight + self.loc, scale), obs=x)

    def guide(self, x: Tensor) -> None:
        seen = (~x.isnan()).to(x.dtype)
        precision = torch.eye(len(self.weight), dtype=x.dtype) + torch.einsum(
            "qd,nd,rd->nqr", self.weight, seen / self.variance, self.weight
        )
        information = ((x - self.loc).nan_to_num() / self.variance) @ self.weight.T
        loc = torch.linalg.solve(precision, information)
        with pyro.plate("data", x.shape[-2], dim=-1):
            pyro.sample("z", dist.MultivariateNormal(loc, precision_matrix=precision / self.widen**2))
