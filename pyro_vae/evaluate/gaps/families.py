"""Fitting a family of densities to each row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, MultivariateNormal, Normal

from pyro_vae._checks import check_integer, check_positive
from pyro_vae.evaluate._densities import Densities
from pyro_vae.progress import Bar

__all__ = ["Family", "Member", "RowFit", "diagonal_gaussian", "full_gaussian"]


class Member(Protocol):
    """A density of each row over its unconstrained latents u."""

    def rsample(self, sample_shape: Any, /) -> Tensor:
        """Draw u, shape (*sample_shape, N, size), with gradients."""
        ...

    def sample(self, sample_shape: Any, /) -> Tensor:
        """Draw u without gradients."""
        ...

    def log_prob(self, value: Tensor, /) -> Tensor:
        """Return the log-density of u, shape (num_samples, N)."""
        ...


class Family(NamedTuple):
    """A parametric family of densities over unconstrained latents."""

    start: Tensor
    """Initial parameters, shape (N, number of parameters)."""
    member: Callable[[Tensor], Member]
    """Function from parameters to densities of batch shape (N,)."""


def diagonal_gaussian(near: Tensor) -> Family:
    """Return the diagonal Gaussians, `u = m + s (shift + exp(log_scale) e)`.

    Args:
        near: Draws of u for the initial m and the units s, shape (num_samples, N, size).
    """
    m, s = near.mean(0), near.std(0)

    def member(parameters: Tensor) -> Distribution:
        shift, log_scale = parameters.chunk(2, dim=-1)
        return Independent(Normal(m + s * shift, s * log_scale.exp()), 1)

    return Family(torch.zeros_like(m).repeat(1, 2), member)


def full_gaussian(near: Tensor) -> Family:
    """Return all Gaussians, `u = m + s (shift + diag(exp(log_scale)) L e)`, L unit lower triangular.

    Args:
        near: Draws that determine location and scale, see `diagonal_gaussian`.
    """
    m, s = near.mean(0), near.std(0)
    size = m.shape[-1]
    rows, columns = torch.tril_indices(size, size, offset=-1, device=m.device)

    def member(parameters: Tensor) -> Distribution:
        shift, log_scale, below = parameters.tensor_split([size, 2 * size], dim=-1)
        unit = torch.eye(size).to(m).expand(len(m), -1, -1).clone()
        unit[:, rows, columns] = below
        scale_tril = (s * log_scale.exp()).unsqueeze(-1) * unit
        return MultivariateNormal(m + s * shift, scale_tril=scale_tril)

    return Family(m.new_zeros(len(m), 2 * size + len(rows)), member)


@dataclass(frozen=True)
class RowFit:
    """Settings of the fit of a family to each row: Adam with a cosine learning rate.

    Path gradients (Roeder et al. 2017) are used, which vanish if the family contains the posterior.

    Args:
        num_steps: Number of steps.
        num_particles: Samples of z per row and step.
        learning_rate: Initial learning rate; Gaussians are in units of their initial scale.

    Raises:
        InputError: If an argument is out of range.
    """

    num_steps: int = 500
    num_particles: int = 8
    learning_rate: float = 0.05

    def __post_init__(self) -> None:
        check_integer(self.num_steps, "num_steps")
        check_integer(self.num_particles, "num_particles")
        check_positive(self.learning_rate, "learning_rate")

    @torch.enable_grad()
    def __call__(self, family: Family, densities: Densities, bar: Bar) -> Member:
        """Return the members of the family that maximize each row's ELBO."""
        best = family.start.detach().clone().requires_grad_()
        # Small beta2, since the first gradients are huge; large epsilon, since Adam amplifies rounding at the optimum.
        adam = torch.optim.Adam([best], lr=self.learning_rate, betas=(0.9, 0.98), eps=1e-4)
        cosine = torch.optim.lr_scheduler.CosineAnnealingLR(adam, self.num_steps)
        for _ in range(self.num_steps):
            u = family.member(best).rsample((self.num_particles,))
            elbo = densities.log_joint(u) - family.member(best.detach()).log_prob(u)
            (gradient,) = torch.autograd.grad(-elbo.mean(0).sum(), best)
            best.grad = gradient.nan_to_num(0.0)
            adam.step()
            cosine.step()
            bar.update(len(best))
        return family.member(best.detach())
