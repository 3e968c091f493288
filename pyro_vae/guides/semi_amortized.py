"""The semi-amortized guide: a few gradient steps for each row from the encoder's output."""

from __future__ import annotations

from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyro_vae._checks import check_integer
from pyro_vae._context import ContextRange, accepted_context, context_range_of, joined_range, row_by_row
from pyro_vae._pickling import Picklable
from pyro_vae.guides.base import AmortizedGuide
from pyro_vae.guides.normal import DiagonalNormalGuide, loc_and_scale

__all__ = ["SemiAmortizedGuide"]

StepPosition = tuple[Tensor, Tensor]
"""Locations and logarithms of scales, each of shape (..., N, latent_dim)."""


class SemiAmortizedGuide(AmortizedGuide):
    """The diagonal normal reached by a few gradient steps on the ELBO from the amortized one (Kim et al. 2018, alg. 1).

    Steps are along the natural gradient, `loc += r scale^2 dL/dloc`, `log scale += r/2 dL/dlog scale`, so that one
    rate r suits all rows and units; each step has a learned rate. A step that would lower the ELBO of a row is
    skipped, and the rate of the row is halved. The ELBO L uses fixed noise, so q(z | x) is a function of x. Gradients
    flow through the steps into encoder and model.

    Args:
        guide: The guide to start from.
        model: A model with `prior`, `decoder` and `likelihood`; it is stored in the guide and trained with it.
        num_steps: Number of steps.
        num_noises: Samples of z for the ELBO of each step, an even number (antithetic pairs e and -e).
        rate: Initial rate of each step.

    Raises:
        InputError: If a number is out of range.
    """

    def __init__(
        self,
        guide: DiagonalNormalGuide,
        model: nn.Module,
        num_steps: int = 3,
        num_noises: int = 16,
        rate: float = 0.2,
    ) -> None:
        super().__init__(_GradientSteps(guide, model, num_steps, num_noises, rate))

    def family(self, outputs: Tensor) -> dist.TorchDistribution:
        """Return the diagonal normal with locations and log scales `outputs`, shape (..., 2 latent_dim)."""
        loc, log_scale = outputs.chunk(2, dim=-1)
        return dist.Normal(loc, log_scale.exp()).to_event(1)


class _GradientSteps(Picklable):
    """Map from x to the locations and log scales after the steps."""

    noises: Tensor

    def __init__(
        self, guide: DiagonalNormalGuide, model: Any, num_steps: int, num_noises: int, rate: float
    ) -> None:
        super().__init__()
        self.guide = guide
        self.model: Any = model
        check_integer(num_steps, "num_steps")
        pairs = -(-check_integer(num_noises, "num_noises") // 2)
        latent_dim = getattr(model, "latent_dim", None) or model.prior().event_shape[0]
        half = torch.empty(pairs, latent_dim)
        nn.init.orthogonal_(half, generator=torch.Generator().manual_seed(0))
        half /= half.square().mean(0).sqrt()  # standardize to mean 0 and variance 1
        self.register_buffer("noises", torch.cat([half, -half]))
        self.log_rates = nn.Parameter(torch.full((num_steps,), rate).log())

    @property
    def context_range(self) -> ContextRange:
        """Number of context tensors that guide and model take."""
        return joined_range(context_range_of(self.guide), context_range_of(self.model))

    def forward(self, x: Tensor, *context: Tensor) -> Tensor:
        """Return locations and log scales, shape (..., N, 2 latent_dim)."""
        differentiable = torch.is_grad_enabled()
        with torch.enable_grad():
            loc, scale = loc_and_scale(row_by_row(self.guide.encoder, x, *context), self.guide.scale_floor)
            position = loc, scale.log()
            shrink = torch.ones_like(loc[..., :1])
            for rate in self.log_rates.exp():
                position, shrink = self._step((x, *context), position, rate, shrink, differentiable)
        outputs = torch.cat(position, dim=-1)
        return outputs if differentiable else outputs.detach()

    def _step(
        self,
        rows: tuple[Tensor, ...],
        position: StepPosition,
        rate: Tensor,
        shrink: Tensor,
        differentiable: bool,
    ) -> tuple[StepPosition, Tensor]:
        """Take the step for rows whose ELBO rises; keep the others and halve their rate."""
        loc, log_scale = position
        elbo = self.elbo(rows, loc, log_scale)
        gradients = torch.autograd.grad(elbo.sum(), position, create_graph=differentiable)
        # Steps are limited to one scale, beyond which the gradient is not informative.
        largest = log_scale.detach().exp()
        moved_loc = loc + (rate * shrink * (2 * log_scale).exp() * gradients[0]).clamp(-largest, largest)
        moved_log_scale = log_scale + (rate * shrink / 2 * gradients[1]).clamp(-1, 1)
        with torch.no_grad():
            rises = (self.elbo(rows, moved_loc, moved_log_scale) > elbo).unsqueeze(-1)
        position = torch.where(rises, moved_loc, loc), torch.where(rises, moved_log_scale, log_scale)
        return position, torch.where(rises, shrink, shrink / 2)

    def elbo(self, rows: tuple[Tensor, ...], loc: Tensor, log_scale: Tensor) -> Tensor:
        """Return the ELBO of each row at the fixed noises, shape (..., N), up to a constant."""
        x, context = rows[0], rows[1:]
        noises = self.noises.view(len(self.noises), *[1] * (loc.ndim - 1), -1)
        z = loc + log_scale.exp() * noises
        prior = self.model.prior(*accepted_context(self.model.prior, context, beside=0))
        likelihood = self.model.likelihood(row_by_row(self.model.decoder, z, *context))
        log_joint = prior.log_prob(z) + likelihood.log_prob(x)
        return log_joint.mean(0) + log_scale.sum(-1)
