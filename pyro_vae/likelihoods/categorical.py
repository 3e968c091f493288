"""The categorical likelihood, for pixels or columns of a few hundred levels."""

from __future__ import annotations

import pyro.distributions as dist
import torch
from torch import Tensor

from pyro_vae._checks import check
from pyro_vae.distributions.categorical_levels import CategoricalLevels
from pyro_vae.distributions.discretized_logistic import level_log_prob
from pyro_vae.likelihoods.integer import IntegerLikelihood

__all__ = ["CategoricalLikelihood"]

MOST_LEVELS = 1024
"""Beyond this, the outputs for a batch of small images take gigabytes."""
UNIFORM_SHARE = 0.01
"""Weight of the uniform distribution at initialization, so that unseen levels have positive probability."""


class CategoricalLikelihood(IntegerLikelihood):
    """`P(x = k | z) = softmax(logits(z))_k` column by column: a probability for each level.

    Outputs are `levels` maps of all columns, relative to the log-probabilities of a discretized logistic distribution
    with the column's mean and standard deviation, mixed with 1 % of the uniform distribution.

    Args:
        mean: Mean of each column of the training split, shape (data_dim,), with x in [0, 1].
        std: Standard deviation of each column, shape (data_dim,).
        levels: Number of integer levels, at most 1024.

    Example:
        >>> import torch
        >>> from pyro_vae.likelihoods import CategoricalLikelihood
        >>> likelihood = CategoricalLikelihood(torch.tensor([0.5]), torch.tensor([0.3]), levels=4)
        >>> levels = torch.arange(4.0).unsqueeze(-1) / 3
        >>> p = likelihood(torch.zeros(1, likelihood.num_outputs))
        >>> round(float(p.log_prob(levels).exp().sum()), 4)
        1.0
    """

    def __init__(self, mean: Tensor, std: Tensor, levels: int) -> None:
        super().__init__(mean, std, levels)
        check(
            levels <= MOST_LEVELS,
            f"Expected at most {MOST_LEVELS} levels for the categorical likelihood (one output per level); got "
            f"{levels}. Choose discretized-logistic or logistic-mixture.",
        )

    @property
    def num_outputs(self) -> int:
        """A logit for each level of each column."""
        return self.levels * self.data_dim

    def start(self) -> Tensor:
        """Return the log-probabilities at outputs of zero, shape (levels, data_dim)."""
        values = torch.linspace(0, 1, self.levels, dtype=self.mean.dtype, device=self.mean.device)[:, None]
        own = level_log_prob(values, self.mean, self.level_scale, self.levels)
        return torch.log((1 - UNIFORM_SHARE) * own.exp() + UNIFORM_SHARE / self.levels)

    def forward(self, outputs: Tensor) -> dist.TorchDistribution:
        """Return p(x | z) from `outputs`, shape (..., levels * data_dim), level by level."""
        return CategoricalLevels(self.start() + outputs.unflatten(-1, (self.levels, self.data_dim)))
