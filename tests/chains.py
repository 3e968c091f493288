"""A chain of two latent sites in which everything is Gaussian, with or without context, and guides of it."""

from __future__ import annotations

from dataclasses import dataclass

import pyro
import pyro.distributions as dist
import torch
from torch import Tensor

D1, D2, DX, DY = 3, 2, 5, 2
PARTS = {"z1": slice(0, D1), "z2": slice(D1, D1 + D2)}


def _random(*shape: int) -> Tensor:
    seed = sum((3, 5)[i] * size for i, size in enumerate(shape))
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@dataclass(frozen=True)
class Chain:
    """`z2 ~ N(E y, I)`, `z1 | z2 ~ N(A z2 + F y, diag(s^2))`, `x | z1 ~ N(B z1 + G y + b, 0.3 I)`, or with y = 0.

    A Pyro program as a user would write it; z = (z1, z2) where both are needed.
    """

    labelled: bool = False

    A, B, b = 0.8 * _random(D1, D2), _random(DX, D1), _random(DX)
    s = torch.tensor([0.5, 0.8, 1.2], dtype=torch.float64)
    noise = 0.3
    E, F, G = 0.7 * _random(D2, DY), 0.5 * _random(D1, DY), _random(DX, DY)

    def _of(self, matrix: Tensor, context: tuple[Tensor, ...]) -> Tensor | float:
        return context[0] @ matrix.T if self.labelled else 0.0

    def model(self, x: Tensor, *context: Tensor) -> None:
        with pyro.plate("data", len(x)):
            prior = dist.Normal(self._of(self.E, context) + x.new_zeros(D2), 1.0)
            z2 = pyro.sample("z2", prior.to_event(1))
            z1 = pyro.sample("z1", dist.Normal(z2 @ self.A.T + self._of(self.F, context), self.s).to_event(1))
            loc = z1 @ self.B.T + self._of(self.G, context) + self.b
            pyro.sample("x", dist.Normal(loc, self.noise**0.5).to_event(1), obs=x)

    def prior(self, x: Tensor, *context: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean, shape (N, D1 + D2), and the covariance of z."""
        top = self._of(self.E, context) + x.new_zeros(len(x), D2)
        below = self.A @ self.A.T + self.s.square().diag()
        covariance = torch.cat(
            [torch.cat([below, self.A], 1), torch.cat([self.A.T, torch.eye(D2).to(self.A)], 1)]
        )
        return torch.cat([top @ self.A.T + self._of(self.F, context), top], -1), covariance

    def marginal(self, x: Tensor, *context: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean of x, shape (N, DX), and its covariance."""
        mean, covariance = self.prior(x, *context)
        loc = mean[:, :D1] @ self.B.T + self._of(self.G, context) + self.b
        return loc, self.B @ covariance[:D1, :D1] @ self.B.T + self.noise * torch.eye(DX).to(self.B)

    def log_prob(self, x: Tensor, *context: Tensor) -> Tensor:
        """Return log p(x) of each row, or log p(x | y)."""
        return dist.MultivariateNormal(*self.marginal(x, *context)).log_prob(x)

    @property
    def gain(self) -> Tensor:
        """What the posterior's mean adds for each unit of x, shape (D1 + D2, DX)."""
        zero = torch.zeros(1, DX, dtype=torch.float64)
        context = (torch.zeros(1, DY, dtype=torch.float64),)
        (_, covariance), (_, of_x) = self.prior(zero, *context), self.marginal(zero, *context)
        return covariance[:, :D1] @ self.B.T @ torch.linalg.inv(of_x)

    def posterior(self, x: Tensor, *context: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean, shape (N, D1 + D2), and the covariance of z given x."""
        (mean, covariance), (loc, _) = self.prior(x, *context), self.marginal(x, *context)
        return mean + (x - loc) @ self.gain.T, covariance - self.gain @ self.B @ covariance[:D1]

    def rows(self, count: int, seed: int = 0) -> tuple[Tensor, ...]:
        """Return rows drawn from the model, with their context if it has one."""
        generator = torch.Generator().manual_seed(seed)
        zero, y = torch.zeros(count, DX).double(), torch.randn(count, DY, generator=generator).double()
        context = (y,) if self.labelled else ()
        loc, covariance = self.marginal(zero, *context)
        e = torch.randn(count, DX, dtype=torch.float64, generator=generator)
        return (loc + e @ torch.linalg.cholesky(covariance).T, *context)


@dataclass(frozen=True)
class ChainGuide:
    """`z ~ N(m(x) + shift, spread V)` with the posterior's mean m and covariance V, site by site.

    Args:
        chain: The chain whose posterior is used.
        order: `("z1", "z2")` from x upwards, or `("z2", "z1")` from above.
        shift: Shift of the mean; 0 and a spread of 1 give the exact posterior.
        spread: Factor of the covariance.
    """

    chain: Chain
    order: tuple[str, str] = ("z1", "z2")
    shift: float = 0.0
    spread: float = 1.0

    def law(self, x: Tensor, *context: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean, shape (N, D1 + D2), and the covariance of z."""
        mean, covariance = self.chain.posterior(x, *context)
        return mean + self.shift, self.spread * covariance

    def __call__(self, x: Tensor, *context: Tensor) -> None:
        mean, covariance = self.law(x, *context)
        one, two = (PARTS[name] for name in self.order)
        slope = covariance[two, one] @ torch.linalg.inv(covariance[one, one])
        rest = covariance[two, two] - slope @ covariance[one, two]
        with pyro.plate("data", len(x)):
            first = pyro.sample(self.order[0], dist.MultivariateNormal(mean[:, one], covariance[one, one]))
            loc = mean[:, two] + (first - mean[:, one]) @ slope.T
            pyro.sample(self.order[1], dist.MultivariateNormal(loc, rest))


def gaussian_kl(q: tuple[Tensor, Tensor], p: tuple[Tensor, Tensor]) -> Tensor:
    """Return KL(q || p) of Gaussians given by mean and covariance, row by row."""
    return torch.distributions.kl_divergence(
        *(torch.distributions.MultivariateNormal(*one) for one in (q, p))
    )
