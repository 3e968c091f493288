"""A guide that starts where an encoder says and climbs a few steps for each row."""

from __future__ import annotations

from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyro_vae._checks import check_integer
from pyro_vae.guides.base import AmortizedGuide
from pyro_vae.guides.normal import DiagonalNormalGuide, loc_and_scale

__all__ = ["SemiAmortizedGuide"]


class SemiAmortizedGuide(AmortizedGuide):
    """The diagonal normal reached by a few gradient steps on the ELBO from the amortized one (Kim et al. 2018, alg. 1).

    Steps are along the natural gradient, `loc += r scale^2 dL/dloc`, `log scale += r/2 dL/dlog scale`, so that one
    rate r fits rows and units alike; each step has its own learned rate. The ELBO L is taken at a fixed set of noises,
    which makes q(z | x) a function of x. Gradients go through the steps, into encoder and model.

    Args:
        guide: Where to start.
        model: A model with `prior`, `decoder` and `likelihood`; it stays in the guide and is trained with it.
        num_steps: How many steps.
        num_noises: Samples of z in each step's ELBO, an even number: they come in pairs e and -e.
        rate: First value of each step's rate.

    Raises:
        InputError: If a number is out of range.
    """

    def __init__(
        self,
        guide: DiagonalNormalGuide,
        model: nn.Module,
        num_steps: int = 3,
        num_noises: int = 8,
        rate: float = 0.2,
    ) -> None:
        super().__init__(_Climb(guide, model, num_steps, num_noises, rate))

    def family(self, outputs: Tensor) -> dist.TorchDistribution:
        """Return the diagonal normal of locations and logarithms of scales, shape (..., 2 latent_dim)."""
        loc, log_scale = outputs.chunk(2, dim=-1)
        return dist.Normal(loc, log_scale.exp()).to_event(1)


class _Climb(nn.Module):
    """From x to the locations and log scales that the steps reach."""

    noises: Tensor

    def __init__(
        self, guide: DiagonalNormalGuide, model: Any, num_steps: int, num_noises: int, rate: float
    ) -> None:
        super().__init__()
        self.guide = guide
        self.model: Any = model
        check_integer(num_steps, "num_steps")
        pairs = -(-check_integer(num_noises, "num_noises") // 2)
        half = torch.randn(pairs, *self.model.prior().event_shape, generator=torch.Generator().manual_seed(0))
        half /= half.square().mean(0).sqrt()  # of mean 0 and variance 1, as the noise that they stand for
        self.register_buffer("noises", torch.cat([half, -half]))
        self.log_rates = nn.Parameter(torch.full((num_steps,), rate).log())

    def forward(self, x: Tensor) -> Tensor:
        """Return locations and log scales, shape (..., N, 2 latent_dim)."""
        differentiable = torch.is_grad_enabled()
        with torch.enable_grad():
            loc, scale = loc_and_scale(self.guide.encoder(x), self.guide.scale_floor)
            place = (loc, scale.log())
            for rate in self.log_rates.exp():
                place = self._step(x, *place, rate, differentiable)
        reached = torch.cat(place, dim=-1)
        return reached if differentiable else reached.detach()

    def _step(
        self, x: Tensor, loc: Tensor, log_scale: Tensor, rate: Tensor, differentiable: bool
    ) -> tuple[Tensor, Tensor]:
        slopes = torch.autograd.grad(
            self._elbo(x, loc, log_scale).sum(), (loc, log_scale), create_graph=differentiable
        )
        step = rate * (2 * log_scale).exp() * slopes[0], rate / 2 * slopes[1]
        # A step of more than one scale leaves the region in which the gradient tells anything.
        largest = log_scale.detach().exp()
        return loc + step[0].clamp(-largest, largest), log_scale + step[1].clamp(-1, 1)

    def _elbo(self, x: Tensor, loc: Tensor, log_scale: Tensor) -> Tensor:
        """Return the ELBO of each row at the fixed noises, shape (..., N), up to a constant."""
        noises = self.noises.view(len(self.noises), *[1] * (loc.ndim - 1), -1)
        z = loc + log_scale.exp() * noises
        log_joint = self.model.prior().log_prob(z) + self.model.likelihood(self.model.decoder(z)).log_prob(x)
        return log_joint.mean(0) + log_scale.sum(-1)
