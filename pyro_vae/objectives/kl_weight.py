"""Weighting of the divergence in a loss: beta, warm-up and free bits."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pyro_vae._checks import check, check_positive
from pyro_vae.objectives.divergences import Divergence
from pyro_vae.objectives.draws import Draws
from pyro_vae.objectives.loss import Objective

__all__ = ["WeightedDivergence"]


@dataclass(frozen=True)
class WeightedDivergence(Objective):
    """An objective with a weighted divergence: minus the mean of `log p(x | z) - w sum_j max(KL_j, free_bits)`.

    w rises linearly to `beta` over the fraction `warmup` of training (Higgins et al. 2017, eq. 4; Bowman et al.
    2016), and KL_j is the mean over the batch of `log q(z_j | x) - log p(z_j)`, for each dimension of z if guide and
    prior factorize over dimensions, else for the whole site (Kingma et al. 2016, eq. 15).

    Args:
        num_particles: Samples of z per row and step.
        max_plate_nesting: Depth of nested plates in the programs, 1 if `"data"` is the only plate.
        beta: Weight of the divergence in the loss.
        warmup: Fraction of training over which the weight rises from 0 to `beta`.
        free_bits: Divergence per dimension below which it has no gradient, nats.

    Raises:
        InputError: If an argument is out of range.
    """

    beta: float = 1.0
    warmup: float = 0.0
    free_bits: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self.beta, "beta", zero=True)
        check_positive(self.free_bits, "free_bits", zero=True)
        check(0 <= self.warmup <= 1, f"Expected warmup in [0, 1], a fraction of training; got {self.warmup}.")

    @property
    def is_elbo(self) -> bool:
        """Whether the divergence has weight one at the end of training, in all dimensions."""
        return self.beta == 1 and self.free_bits == 0

    def kl_weight(self, progress: Tensor | None = None) -> Tensor | float:
        """Return the weight of the divergence at the fraction `progress` of training (a scalar)."""
        if progress is None or self.warmup == 0:
            return self.beta
        return self.beta * (progress / self.warmup).clamp(0, 1)

    def _weighted_bound(self, draws: Draws, progress: Tensor | None, divergence: Divergence) -> Tensor:
        """Return each row's bound with weighted divergence, shape (num_particles, N)."""
        return draws.log_probs.likelihood - self.kl_weight(progress) * self._kl(draws, divergence)

    def _mean_kl(self, groups: Tensor, draws: Draws) -> Tensor:
        """Return the mean of `kl_groups` over particles and rows, shape (number of groups,), nats."""
        return groups.mean((0, 1))

    def _kl(self, draws: Draws, divergence: Divergence) -> Tensor:
        """Return each row's divergence, shape (num_particles, N), with groups below `free_bits` replaced by it."""
        if self.free_bits == 0:
            return draws.kl(divergence)
        groups = draws.kl_groups(divergence)
        means = self._mean_kl(groups.detach(), draws)
        return torch.where(means > self.free_bits, groups, groups.new_tensor(self.free_bits)).sum(-1)
