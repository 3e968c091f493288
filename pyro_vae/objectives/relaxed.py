"""The ELBO of discrete latents with gradients of relaxed samples: Gumbel-softmax and straight-through."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pyro_vae._checks import check_positive
from pyro_vae.objectives.discrete import Relaxed, check_same_order, divergence_of
from pyro_vae.objectives.divergences import closed_kl
from pyro_vae.objectives.draws import Draws
from pyro_vae.objectives.kl_weight import WeightedDivergence
from pyro_vae.objectives.rows import draw

__all__ = ["GumbelSoftmax", "StraightThrough"]


@dataclass(frozen=True)
class GumbelSoftmax(WeightedDivergence):
    """The ELBO of a discrete model with the gradient of relaxed samples (Jang et al. 2017; Maddison et al. 2017).

    The gradient is that of `log p(x | y) - KL(q(z | x) || p(z))`, with a relaxed sample y (Jang et al. 2017, eq. 2) and
    the divergence of the discrete distributions. It is biased; a lower temperature reduces the bias and increases the
    variance. The reported values are ELBOs at discrete samples, since relaxed values are not bounds of the discrete
    model.

    The temperature decreases geometrically from `temperature` to `final_temperature`.

    Args:
        num_particles: Samples of z per row and step.
        max_plate_nesting: Depth of nested plates in the programs, 1 if `"data"` is the only plate.
        beta: Weight of the divergence in the loss.
        warmup: Fraction of training over which the weight rises from 0 to `beta`.
        free_bits: Divergence per dimension below which it has no gradient, nats.
        temperature: Temperature at the start of training, above 0.
        final_temperature: Temperature at the end of training, above 0.

    Raises:
        InputError: If an argument is out of range, a discrete site is neither one-hot categorical nor Bernoulli, or a
            divergence has no closed form.
    """

    temperature: float = 1.0
    final_temperature: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self.temperature, "temperature")
        check_positive(self.final_temperature, "final_temperature")

    def temperature_at(self, progress: Tensor | None = None) -> Tensor | float:
        """Return the temperature at the fraction `progress` of training (a scalar); None for the end."""
        if progress is None or self.temperature == self.final_temperature:
            return self.final_temperature
        return self.temperature * (self.final_temperature / self.temperature) ** progress

    def loss(self, draws: Draws, progress: Tensor | None = None) -> Tensor:
        """Return the loss, in nats per example, with the value of the discrete samples."""
        value = self._of_samples(draws, progress)
        if not torch.is_grad_enabled():
            return value
        relaxed = self._relaxed(draws.model, draws.guide, draws.data, progress, hard=False)
        surrogate = -self._weighted_bound(relaxed, progress, closed_kl).mean()
        return value.detach() + surrogate - surrogate.detach()

    def _of_samples(self, draws: Draws, progress: Tensor | None) -> Tensor:
        return -self._weighted_bound(draws, progress, divergence_of(draws)).mean()

    def _relaxed(
        self,
        model: Callable[..., Any],
        guide: Callable[..., Any],
        data: tuple[Tensor, ...],
        progress: Tensor | None,
        hard: bool,
    ) -> Draws:
        """Run guide and model at samples with a gradient, see `Relaxed`."""
        particles, nesting = self.num_particles, self.max_plate_nesting
        relaxed = Relaxed(self.temperature_at(progress), hard, particles, nesting)
        draws = draw(model, relaxed(guide), *data, num_particles=particles, max_plate_nesting=nesting)
        check_same_order(draws.guide_trace, draws.model_trace)
        return draws


@dataclass(frozen=True)
class StraightThrough(GumbelSoftmax):
    """The ELBO of a discrete model at discrete samples, with the gradient of the relaxed samples they are rounded from.

    Straight-through Gumbel-softmax (Bengio et al. 2013; Jang et al. 2017, section 2.2): the model only takes codes,
    and its gradient is unbiased. Arguments as for `GumbelSoftmax`.
    """

    def draws(
        self,
        model: Callable[..., Any],
        guide: Callable[..., Any],
        data: tuple[Tensor, ...],
        progress: Tensor | None,
    ) -> Draws:
        """Run guide and model at codes with a gradient; arguments as for `Objective.terms`."""
        return self._relaxed(model, guide, data, progress, hard=True)

    def loss(self, draws: Draws, progress: Tensor | None = None) -> Tensor:
        """Return the loss, in nats per example."""
        return -self._weighted_bound(draws, progress, closed_kl).mean()
