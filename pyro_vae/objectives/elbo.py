"""The evidence lower bound: sampled, with the divergence in closed form, and with gradients along the path alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from pyro_vae.objectives.divergences import analytic_kl, sampled_kl
from pyro_vae.objectives.draws import Draws
from pyro_vae.objectives.kl_weight import WeightedDivergence

__all__ = ["ELBO", "STL", "AnalyticELBO"]


@dataclass(frozen=True)
class ELBO(WeightedDivergence):
    """The evidence lower bound `E_q[log p(x, z) - log q(z | x)]` (Kingma & Welling 2014, eq. 2).

    Weight, warm-up and free bits of the divergence change the loss alone, see `WeightedDivergence`; what is reported
    beside it stays the bound itself.

    Args:
        num_particles: Samples of z for each row and step.
        max_plate_nesting: How deep plates are nested in the programs, 1 where `"data"` is the only one.
        beta: Weight of the divergence in the loss.
        warmup: Share of training over which the weight rises from 0 to `beta`.
        free_bits: Divergence of each dimension below which the loss does not lower it, nats.

    Raises:
        InputError: If an argument is out of range.
    """

    def loss(self, draws: Draws, progress: Tensor | None = None) -> Tensor:
        """Return the loss, in nats per example.

        Where a site of the guide has no reparameterised sample its gradient is the score function's,
        log q times the (constant) weighed bound of the row; the value is unchanged.
        """
        weighed = self._weighted_bound(draws, progress, sampled_kl)
        score = draws.log_probs.score * weighed.detach()
        return -(weighed + score - score.detach()).mean()


@dataclass(frozen=True)
class AnalyticELBO(ELBO):
    """The ELBO with the divergence in closed form, `E_q[log p(x | z)] - KL(q(z | x) || p(z))`.

    Kingma & Welling 2014, eq. 3. Normals, with covariances or without, have a closed form against a normal prior.
    Where a site's pair of distributions has none, as mixtures and flows have not, its divergence is sampled, as in
    `ELBO`; so is that of a site which the guide draws before one that the model draws it from, as z1 of `z1 -> z2`
    against `z2 -> z1`. Arguments as for `ELBO`.
    """

    def loss(self, draws: Draws, progress: Tensor | None = None) -> Tensor:
        """Return the loss, in nats per example; sites that are not reparameterised as in `ELBO`."""
        weighed = self._weighted_bound(draws, progress, analytic_kl)
        score = draws.log_probs.score * weighed.detach()
        return -(weighed + score - score.detach()).mean()


def _prior_kl(q: Any, p: Any, z: Tensor) -> Tensor:
    """Return `log q(z) - log p(z)` with log q a constant."""
    difference: Tensor = q.log_prob(z).detach() - p.log_prob(z)
    return difference


@dataclass(frozen=True)
class STL(ELBO):
    """The ELBO with the gradient along the path alone, "sticking the landing" (Roeder et al. 2017, eq. 8).

    The guide's gradient is `E[d/dz (log p(x, z) - log q(z | x)) dz/dphi]`: the score of log q, of mean zero, is
    left out. Where the guide is the posterior every draw gives zero. Arguments as for `ELBO`.

    The slope of log q at a given z, which `DReG` takes too, needs the way back from z to its noise: through an
    autoregressive flow that is one dimension after another, and a step takes `latent_dim` passes through its maps.

    Raises:
        InputError: If an argument is out of range, or a site of the guide is not reparameterised.
    """

    cut: ClassVar[bool] = True

    def loss(self, draws: Draws, progress: Tensor | None = None) -> Tensor:
        """Return the loss, in nats per example."""
        path = draws.through_latents(self._weighted_bound(draws, progress, sampled_kl).mean())
        return -(self._weighted_bound(draws, progress, _prior_kl).mean() + path)
