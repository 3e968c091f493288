"""The evidence lower bound: sampled, with analytic divergence, and with path gradients only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from pyro_vae.objectives.divergences import analytic_kl, sampled_kl
from pyro_vae.objectives.draws import Draws
from pyro_vae.objectives.kl_weight import WeightedDivergence
from pyro_vae.objectives.path_gradients import through_latents

__all__ = ["ELBO", "STL", "AnalyticELBO"]


@dataclass(frozen=True)
class ELBO(WeightedDivergence):
    """The evidence lower bound `E_q[log p(x, z) - log q(z | x)]` (Kingma & Welling 2014, eq. 2).

    Weight, warm-up and free bits of the divergence affect the loss only, see `WeightedDivergence`; the reported value
    is the bound itself.

    Args:
        num_particles: Samples of z per row and step.
        max_plate_nesting: Depth of nested plates in the programs, 1 if `"data"` is the only plate.
        beta: Weight of the divergence in the loss.
        warmup: Fraction of training over which the weight rises from 0 to `beta`.
        free_bits: Divergence per dimension below which it has no gradient, nats.

    Raises:
        InputError: If an argument is out of range.
    """

    def loss(self, draws: Draws, progress: Tensor | None = None) -> Tensor:
        """Return the loss, in nats per example.

        Sites of the guide without reparameterized samples get the score-function gradient, log q times the (constant)
        weighted bound of the row; the value is unchanged.
        """
        weighted = self._weighted_bound(draws, progress, sampled_kl)
        score = draws.log_probs.score * weighted.detach()
        return -(weighted + score - score.detach()).mean()


@dataclass(frozen=True)
class AnalyticELBO(ELBO):
    """The ELBO with the divergence in closed form, `E_q[log p(x | z)] - KL(q(z | x) || p(z))`.

    Kingma & Welling 2014, eq. 3. Diagonal and full-covariance normals have a closed form with a normal prior.
    Divergences without a closed form, such as those of mixtures and flows, are sampled as in `ELBO`. So is the
    divergence of a site that the guide draws before a site on which it depends in the model, such as z1 if the guide
    draws z1 and then z2, and the model z2 and then z1. Arguments as for `ELBO`.
    """

    def loss(self, draws: Draws, progress: Tensor | None = None) -> Tensor:
        """Return the loss, in nats per example; see `ELBO.loss` for sites without reparameterized samples."""
        weighted = self._weighted_bound(draws, progress, analytic_kl)
        score = draws.log_probs.score * weighted.detach()
        return -(weighted + score - score.detach()).mean()


def _prior_kl(q: Any, p: Any, z: Tensor) -> Tensor:
    """Return `log q(z) - log p(z)` with log q a constant."""
    difference: Tensor = q.log_prob(z).detach() - p.log_prob(z)
    return difference


@dataclass(frozen=True)
class STL(ELBO):
    """The ELBO with path gradients only, "sticking the landing" (Roeder et al. 2017, eq. 8).

    The guide's gradient is `E[d/dz (log p(x, z) - log q(z | x)) dz/dphi]`: the score of log q, with mean zero, is
    omitted. If the guide is the exact posterior the gradient is zero for every draw. Arguments as for `ELBO`.

    The derivative of log q at a given z, which `DReG` needs too, requires the inverse map from z to noise. For an
    autoregressive flow it is sequential over dimensions, so a step takes `latent_dim` passes through its maps.

    Raises:
        InputError: If an argument is out of range, or a site of the guide is not reparameterized.
    """

    cut: ClassVar[bool] = True

    def loss(self, draws: Draws, progress: Tensor | None = None) -> Tensor:
        """Return the loss, in nats per example."""
        path = through_latents(draws, self._weighted_bound(draws, progress, sampled_kl).mean())
        return -(self._weighted_bound(draws, progress, _prior_kl).mean() + path)
