"""The discretized logistic likelihood, for pixels of many levels."""

from __future__ import annotations

import pyro.distributions as dist
from torch import Tensor

from pyro_vae.distributions.discretized_logistic import DiscretizedLogistic
from pyro_vae.likelihoods.integer import IntegerLikelihood

__all__ = ["DiscretizedLogisticLikelihood"]


class DiscretizedLogisticLikelihood(IntegerLikelihood):
    """`P(x | z) = F((x + h - loc(z)) / s(z)) - F((x - h - loc(z)) / s(z))` column by column, F the logistic sigmoid.

    h is half the distance between levels; the lowest and the highest level include the tails (Kingma et al. 2016,
    section 6.2; Salimans et al. 2017, equation 2). s is at least 0.1 levels.

    Args:
        mean: Mean of each column of the training split, shape (data_dim,), with x in [0, 1].
        std: Standard deviation of each column, shape (data_dim,).
        levels: Number of integer levels.

    Example:
        >>> import torch
        >>> from pyro_vae.likelihoods import DiscretizedLogisticLikelihood
        >>> likelihood = DiscretizedLogisticLikelihood(torch.tensor([0.5]), torch.tensor([0.3]), levels=256)
        >>> levels = torch.arange(256.0).unsqueeze(-1) / 255
        >>> p = likelihood(torch.zeros(1, likelihood.num_outputs))
        >>> round(float(p.log_prob(levels).exp().sum()), 4)
        1.0
    """

    @property
    def num_outputs(self) -> int:
        """A location and a scale for each column."""
        return 2 * self.data_dim

    def forward(self, outputs: Tensor) -> dist.TorchDistribution:
        """Return p(x | z) from `outputs`, shape (..., 2 data_dim)."""
        loc, raw_scale = outputs.chunk(2, dim=-1)
        scale = self.scale(raw_scale, self.level_scale)
        return DiscretizedLogistic(self.mean + self.std * loc, scale, self.levels).to_event(1)
