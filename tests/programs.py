"""Small models and guides that several tests use."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyro_vae.experiment.build import build
from pyro_vae.experiment.config import ModelConfig
from pyro_vae.guides import DiagonalNormalGuide
from pyro_vae.likelihoods import LIKELIHOODS
from pyro_vae.models.generative import GenerativeModel
from pyro_vae.objectives import OBJECTIVES
from pyro_vae.settings import PARTS
from pyro_vae.settings.latents import names_for_latent

DATA_DIM, LEVELS = 6, 5
DENSE_GUIDES = [name for name in names_for_latent("guide") if not PARTS["guide"][name].is_point]
"""Guides with a density over continuous z, by name."""
BOUNDS = {name: objective for name, objective in OBJECTIVES.items() if objective.is_bound and name != "tc"}
"""Objectives that bound log p(x), by name."""


def rows(likelihood: str = "gaussian", count: int = 32, seed: int = 0) -> Tensor:
    """Return rows that the likelihood can score, with two factors behind their columns."""
    generator = torch.Generator().manual_seed(seed)
    loadings = torch.linspace(-1, 1, 2 * DATA_DIM).reshape(2, DATA_DIM).cos()
    z, noise = (torch.randn(count, size, generator=generator) for size in (2, DATA_DIM))
    values = z @ loadings + 0.3 * noise
    kind = LIKELIHOODS[likelihood].kind
    if kind == "binary":
        return (values > 0.2).float()
    unit = torch.sigmoid(values)
    return {"integer": (unit * (LEVELS - 1)).round() / (LEVELS - 1), "unit-interval": unit}.get(
        kind, 3 + values
    )


def small_vae(
    likelihood: str = "gaussian", seed: int = 0, latent_dim: int = 2
) -> tuple[GenerativeModel, DiagonalNormalGuide]:
    """Return a model and a guide for `rows(likelihood)`, with fresh weights."""
    x = rows(likelihood, 500).double()
    config = ModelConfig(
        likelihood=likelihood,  # type: ignore[arg-type]
        latent_dim=latent_dim,
        hidden=(8,),
        activation="tanh",
        scale_floor=0.01,
        fixed_scale=0.5,
    )
    return build(config, x.mean(0), x.std(0), seed, levels=LEVELS)


class LinearModel(nn.Module):
    """`z ~ N(0, I)`, `x | z ~ N(W z + mean, noise I)`: PPCA as a user would write it."""

    def __init__(self, weight: Tensor, mean: Tensor, noise: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)
        self.mean = nn.Parameter(mean)
        self.log_noise = nn.Parameter(torch.tensor(math.log(noise), dtype=weight.dtype))

    def forward(self, x: Tensor) -> Tensor:
        pyro.module("linear", self)
        with pyro.plate("data", len(x)):
            prior = dist.Normal(x.new_zeros(self.weight.shape[1]), 1.0).to_event(1)
            z = pyro.sample("z", prior)
            loc = z @ self.weight.T + self.mean
            return pyro.sample("x", dist.Normal(loc, (self.log_noise / 2).exp()).to_event(1), obs=x)


class ExactGuide(nn.Module):
    """The posterior of `LinearModel`: N(M^-1 W^T (x - mean), noise M^-1), M = W^T W + noise I."""

    def __init__(self, model: LinearModel) -> None:
        super().__init__()
        weight, noise = model.weight.detach(), model.log_noise.detach().exp()
        precision = weight.T @ weight + noise * torch.eye(weight.shape[1], dtype=weight.dtype)
        self.mean = model.mean.detach()
        self.gain = torch.linalg.solve(precision, weight.T)
        self.covariance = noise * torch.linalg.inv(precision)

    def forward(self, x: Tensor) -> Tensor:
        loc = (x - self.mean) @ self.gain.T
        with pyro.plate("data", len(x)):
            return pyro.sample("z", dist.MultivariateNormal(loc, self.covariance))


def linear_problem(num_rows: int = 50, data_dim: int = 5, latent_dim: int = 2) -> tuple[LinearModel, Tensor]:
    """Return a linear Gaussian model in float64 and rows drawn from it."""
    generator = np.random.default_rng(1)
    weight = torch.from_numpy(generator.normal(size=(data_dim, latent_dim)))
    mean = torch.from_numpy(generator.normal(size=data_dim))
    z, noise = generator.normal(size=(num_rows, latent_dim)), generator.normal(size=(num_rows, data_dim))
    x = torch.from_numpy(z) @ weight.T + mean + 0.3**0.5 * torch.from_numpy(noise)
    return LinearModel(weight, mean, 0.3), x


def exact_log_prob(model: LinearModel, x: Tensor) -> Tensor:
    """Return log N(x; mean, W W^T + noise I) of each row."""
    data_dim = len(model.mean)
    covariance = model.weight @ model.weight.T + model.log_noise.exp() * torch.eye(data_dim, dtype=x.dtype)
    return torch.distributions.MultivariateNormal(model.mean, covariance).log_prob(x).detach()


def changed(before: dict[str, Tensor], module: nn.Module) -> set[str]:
    """Return the names of the parameters that differ from a copy of the state before."""
    return {name for name, value in module.named_parameters() if not torch.equal(before[name], value)}


def copied(module: nn.Module) -> dict[str, Tensor]:
    """Return a copy of a module's state."""
    return {name: value.clone() for name, value in module.state_dict().items()}


Program = Callable[..., Tensor]
