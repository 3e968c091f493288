"""Bounds with several samples of z per row, and their gradient estimators."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from pyro_vae._checks import check
from pyro_vae.objectives.draws import Draws
from pyro_vae.objectives.loss import Objective
from pyro_vae.objectives.path_gradients import through_latents

__all__ = ["IWAE", "DReG", "Renyi"]


@dataclass(frozen=True)
class IWAE(Objective):
    """The importance weighted bound `E[log 1/K sum_k p(x, z_k) / q(z_k | x)]` (Burda et al. 2016, eq. 8).

    It increases with `num_particles` K towards log p(x); with K = 1 it is the ELBO. Sites without reparameterized
    samples get the score-function gradient.

    Args:
        num_particles: Samples of z per row and step, K.
        max_plate_nesting: Depth of nested plates in the programs, 1 if `"data"` is the only plate.

    Raises:
        InputError: If an argument is out of range.

    Example:
        >>> import torch
        >>> from pyro_vae import IWAE, DiagonalNormalGuide, GenerativeModel, StandardNormal, fit
        >>> from pyro_vae import mlp_decoder, mlp_encoder
        >>> from pyro_vae.likelihoods import BernoulliLikelihood
        >>> x = (torch.rand(100, 6) < 0.3).float()
        >>> mean, std = x.mean(0), x.std(0)
        >>> model = GenerativeModel(StandardNormal(2), mlp_decoder(2, [8], 6), BernoulliLikelihood(mean, std))
        >>> guide = DiagonalNormalGuide(mlp_encoder(mean, std, [8], 2 * 2))
        >>> result = fit(model, guide, x, epochs=1, objective=IWAE(num_particles=5), progress=False)
        >>> len(result.history)
        1
    """

    num_particles: int = 5

    @property
    def is_elbo(self) -> bool:
        """Whether K is 1, so that the bound is the ELBO."""
        return self.num_particles == 1

    def bound(self, log_weights: Tensor) -> Tensor:
        """Return the bound of each row, shape (N,), nats, from log weights of shape (num_particles, N)."""
        return log_weights.logsumexp(0) - math.log(self.num_particles)

    def loss(self, draws: Draws, progress: Tensor | None = None) -> Tensor:
        """Return minus the bound, in nats per example."""
        bound = self.bound(draws.log_probs.log_weights)
        score = draws.log_probs.score.sum(0) * bound.detach()
        return -(bound + score - score.detach()).mean()


@dataclass(frozen=True)
class DReG(IWAE):
    """The importance weighted bound with the doubly reparameterized gradient (Tucker et al. 2019, eq. 8).

    The guide's gradient is `E[sum_k v_k^2 d/dz_k (log p(x, z_k) - log q(z_k | x)) dz_k/dphi]` with the normalized
    weights v; its signal-to-noise ratio does not decrease with K. The model's gradient is that of `IWAE`. Arguments
    as for `IWAE`.

    Raises:
        InputError: If an argument is out of range, or a site of the guide is not reparameterized.
    """

    cut: ClassVar[bool] = True

    def loss(self, draws: Draws, progress: Tensor | None = None) -> Tensor:
        """Return minus the bound, in nats per example."""
        log_probs = draws.log_probs
        bound = self.bound(log_probs.log_weights).detach()
        weights = log_probs.log_weights.detach().softmax(0)
        path = through_latents(draws, (weights * log_probs.log_weights).sum(0).mean(), weights)
        model = (weights * (log_probs.likelihood + log_probs.prior)).sum(0)
        return -((bound + model - model.detach()).mean() + path)


@dataclass(frozen=True)
class Renyi(IWAE):
    """The variational Renyi bound `1 / (1 - alpha) log 1/K sum_k (p(x, z_k) / q(z_k | x))^(1 - alpha)`.

    Li & Turner 2016, eq. 14. For alpha = 1 it is the ELBO, for 0 the bound of `IWAE`; it decreases with alpha. For
    alpha < 0 it may exceed log p(x).

    Args:
        num_particles: Samples of z per row and step, K.
        max_plate_nesting: Depth of nested plates in the programs, 1 if `"data"` is the only plate.
        alpha: Order of the divergence, finite.

    Raises:
        InputError: If an argument is out of range.
    """

    alpha: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        check(math.isfinite(self.alpha), f"Expected alpha to be a finite number; got {self.alpha}.")

    @property
    def is_elbo(self) -> bool:
        """Whether K or alpha is 1, so that the bound is the ELBO."""
        return self.alpha == 1 or super().is_elbo

    def bound(self, log_weights: Tensor) -> Tensor:
        """Return the bound of each row, shape (N,), nats, from log weights of shape (num_particles, N)."""
        if self.alpha == 1:
            return log_weights.mean(0)
        order = 1 - self.alpha
        return super().bound(order * log_weights) / order
