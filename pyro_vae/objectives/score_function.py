"""The ELBO with the score-function gradient and a baseline."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from pyro_vae.objectives.discrete import divergence_of
from pyro_vae.objectives.draws import Draws
from pyro_vae.objectives.kl_weight import WeightedDivergence

__all__ = ["RLOO"]


@dataclass(frozen=True)
class RLOO(WeightedDivergence):
    """The ELBO with the score-function gradient and a leave-one-out baseline.

    The gradient of sites without reparameterized samples is `1/K sum_k (b_k - mean of b_j, j != k) grad log q(z_k | x)`
    for the bounds b of K samples of a row (Kool et al. 2019, eq. 8; the baseline of Mnih & Rezende 2016, eq. 7). It is
    unbiased and has much less variance than that of `ELBO`. The divergence of a single discrete site is in closed form
    if available. Sites with reparameterized samples have pathwise gradients.

    Args:
        num_particles: Samples of z for each row and step, K; with one there is no baseline.
        max_plate_nesting: Depth of nested plates in the programs, 1 if `"data"` is the only plate.
        beta: Weight of the divergence in the loss.
        warmup: Fraction of training over which the weight rises from 0 to `beta`.
        free_bits: Divergence per dimension below which it has no gradient, nats.

    Raises:
        InputError: If an argument is out of range.
    """

    num_particles: int = 4

    def loss(self, draws: Draws, progress: Tensor | None = None) -> Tensor:
        """Return the loss, in nats per example."""
        weighted = self._weighted_bound(draws, progress, divergence_of(draws))
        signal, count = weighted.detach(), self.num_particles
        if count > 1:
            signal = (signal - signal.mean(0)) * (count / (count - 1))
        score = draws.log_probs.score * signal
        return -(weighted + score - score.detach()).mean()
