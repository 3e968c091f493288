"""Distribution of rows of tables with columns of different kinds and missing entries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import pyro.distributions as dist
import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions.constraints import Constraint

__all__ = ["Block", "Levels", "TableDistribution"]


class Levels(dist.Categorical):
    """A categorical distribution over level indices 0 to K - 1 as floats.

    Args:
        logits: Shape (..., K).
        ordered: Whether the levels are ordered, so that the mean index is meaningful.
    """

    def __init__(self, logits: Tensor, ordered: bool) -> None:
        super().__init__(logits=logits, validate_args=False)
        self.ordered = ordered

    def expand(self, batch_shape: torch.Size, _instance: Any = None) -> Levels:
        """Return the distribution with another batch shape."""
        return Levels(self.logits.expand(*batch_shape, self.logits.shape[-1]), self.ordered)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-probability of each level index."""
        return super().log_prob(value.long().clamp(0, self.logits.shape[-1] - 1))

    @property
    def mean(self) -> Tensor:
        """The mean index of ordered levels; the index of the most probable level otherwise."""
        numbers = torch.arange(self.logits.shape[-1], dtype=self.logits.dtype, device=self.logits.device)
        return (self.probs * numbers).sum(-1) if self.ordered else self.logits.argmax(-1).to(self.logits)

    @property
    def variance(self) -> Tensor:
        """The variance of the level index; NaN for unordered levels."""
        if not self.ordered:
            return torch.full_like(self.logits[..., 0], torch.nan)
        numbers = torch.arange(self.logits.shape[-1], dtype=self.logits.dtype, device=self.logits.device)
        return (self.probs * (numbers - self.mean.unsqueeze(-1)).square()).sum(-1)


class Block(NamedTuple):
    """Columns of one kind, whose entries are independent given z."""

    columns: tuple[int, ...]
    """Column indices."""
    p: Any
    """Their distribution, batch shape (..., number of columns)."""
    inside: float
    """A value of the support, used in place of missing entries."""


class _ObservedInSupport(Constraint):
    """Rows whose entries are in the support of their column or missing."""

    event_dim = 1

    def __init__(self, blocks: Sequence[Block]) -> None:
        self.blocks = blocks
        super().__init__()

    def check(self, value: Tensor) -> Tensor:
        """Return whether each row is in the support, shape (...) for (..., D)."""
        inside = [
            value[..., list(block.columns)].isnan() | block.p.support.check(value[..., list(block.columns)])
            for block in self.blocks
        ]
        return torch.cat(inside, dim=-1).all(-1)


class TableDistribution(TorchDistribution):
    """`p(x) = prod_j p_j(x_j)` over the observed entries j of a row; missing entries are NaN.

    Entries are independent, so leaving some out gives the exact marginal of the others.

    Args:
        blocks: Columns by kind; each of the D columns is in one block.
    """

    arg_constraints: dict[str, Constraint] = {}  # noqa: RUF012 (as in torch)
    has_rsample = False

    def __init__(self, blocks: Sequence[Block], validate_args: bool | None = None) -> None:
        self.blocks = tuple(blocks)
        places = [place for block in blocks for place in block.columns]
        self._order = [places.index(place) for place in range(len(places))]
        batch_shape = blocks[0].p.batch_shape[:-1]
        super().__init__(batch_shape, torch.Size([len(places)]), validate_args=False)

    @property
    def support(self) -> Constraint:
        """Rows whose observed entries are in the supports of their columns."""
        return _ObservedInSupport(self.blocks)

    def expand(self, batch_shape: torch.Size, _instance: Any = None) -> TableDistribution:
        """Return the distribution with another batch shape."""
        shape = torch.Size(batch_shape)
        return TableDistribution(
            [block._replace(p=block.p.expand(shape + block.p.batch_shape[-1:])) for block in self.blocks]
        )

    def cell_log_prob(self, value: Tensor) -> Tensor:
        """Return the log-density or log-probability of each entry, shape (..., D), nats; 0 if it is missing."""

        def of_block(block: Block) -> Tensor:
            cells = value[..., list(block.columns)]
            missing = cells.isnan()
            found: Tensor = block.p.log_prob(cells.masked_fill(missing, block.inside))
            return found.masked_fill(missing, 0.0)

        return self._joined(of_block)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-density of the observed entries of rows, shape (...) for values (..., D)."""
        return self.cell_log_prob(value).sum(-1)

    @torch.no_grad()
    def sample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:  # noqa: B008 (as in torch)
        """Draw complete rows, shape (*sample_shape, *batch_shape, D)."""
        dtype = torch.get_default_dtype()
        return self._joined(lambda block: block.p.sample(sample_shape).to(dtype))

    @property
    def mean(self) -> Tensor:
        """The mean of each entry; the most probable level of a categorical column."""
        return self._joined(lambda block: block.p.mean)

    @property
    def variance(self) -> Tensor:
        """The variance of each entry; NaN in a categorical column."""
        return self._joined(lambda block: block.p.variance)

    def _joined(self, of_block: Callable[[Block], Tensor]) -> Tensor:
        """Return results of each block, with the columns in their order."""
        return torch.cat([of_block(block) for block in self.blocks], dim=-1)[..., self._order]
