"""A categorical distribution over integer levels on [0, 1]."""

from __future__ import annotations

import torch
from pyro.distributions import TorchDistribution, constraints
from torch import Tensor
from torch.distributions.constraints import Constraint

from pyro_vae._compat import validate_sample
from pyro_vae.distributions.discretized_logistic import OnLevels, level_number

__all__ = ["CategoricalLevels"]


class CategoricalLevels(TorchDistribution):
    """Integer levels 0, 1 / (levels - 1), ..., 1, each with its own probability.

    Levels are the second-to-last dimension, as in the output of an image decoder. torch's Categorical expects them
    last, which would need a transposed copy of the largest tensor.

    Args:
        logits: Shape (..., levels, columns), up to a constant for each column.
    """

    arg_constraints = {"logits": constraints.real}  # noqa: RUF012 (as in torch)
    has_rsample = False

    def __init__(self, logits: Tensor, validate_args: bool | None = None) -> None:
        self.logits = logits
        super().__init__(logits.shape[:-2], logits.shape[-1:], validate_args=validate_args)

    @property
    def levels(self) -> int:
        """Number of levels."""
        return self.logits.shape[-2]

    @property
    def support(self) -> Constraint:
        """The levels."""
        return constraints.independent(OnLevels(self.levels), 1)

    def expand(self, batch_shape: torch.Size, _instance: object = None) -> CategoricalLevels:
        """Return the distribution with another batch shape."""
        return type(self)(self.logits.expand(*batch_shape, *self.logits.shape[-2:]))

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-probability of rows, summed over their columns: shape (...,) for values (..., columns)."""
        validate_sample(self, value)
        return self.cell_log_prob(value).sum(-1)

    def cell_log_prob(self, value: Tensor) -> Tensor:
        """Return the log-probability of each column, shape (..., columns)."""
        level = level_number(value, self.levels)
        shape = torch.broadcast_shapes(level.shape, self.logits.select(-2, 0).shape)
        logits = self.logits.expand(*shape[:-1], *self.logits.shape[-2:])
        chosen = logits.gather(-2, level.expand(shape).unsqueeze(-2)).squeeze(-2)
        return chosen - logits.logsumexp(-2)

    @torch.no_grad()
    def sample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:  # noqa: B008 (as in torch)
        """Draw a level for each column by the Gumbel-max method."""
        logits = self.logits.expand(*sample_shape, *self.logits.shape)
        level = (logits - torch.empty_like(logits).exponential_().log()).argmax(-2)
        return level.to(logits.dtype) / max(self.levels - 1, 1)

    @property
    def mean(self) -> Tensor:
        """`sum over k of k P(k) / (levels - 1)`, shape (..., columns)."""
        values = torch.linspace(0, 1, self.levels, dtype=self.logits.dtype, device=self.logits.device)
        return torch.einsum("...ld,l->...d", self.logits.softmax(-2), values)
