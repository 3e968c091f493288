"""Pseudo-Gibbs chains over codes and missing entries of rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pyro_vae._checks import check_integer
from pyro_vae._context import accepted_context
from pyro_vae.models.generative import GenerativeModel

__all__ = ["PseudoGibbs"]


@dataclass(frozen=True)
class PseudoGibbs:
    """`z ~ q(z | x_obs, x_mis)`, `x_mis ~ p(x_mis | z)`, repeated (Rezende et al. 2014, appendix F).

    With the exact posterior as guide the chain converges to p(z, x_mis | x_obs); otherwise to an approximation. The
    encoder takes complete rows, as in training.

    Args:
        num_chains: Number of chains per row.
        num_steps: Number of steps; the first third is discarded.

    Raises:
        InputError: If a number is out of range.
    """

    num_chains: int = 8
    num_steps: int = 30

    def __post_init__(self) -> None:
        check_integer(self.num_chains, "num_chains")
        check_integer(self.num_steps, "num_steps", minimum=3)

    @torch.no_grad()
    def draw(self, model: GenerativeModel, guide: Any, x: Tensor, *context: Tensor) -> Tensor:
        """Return codes of rows.

        Args:
            model: The generative program; chains start at the mean of its training rows.
            guide: A guide with `encode(x, *context)`.
            x: Rows, shape (N, data_dim), NaN where missing.
            context: Context tensors, shape (N, ...).

        Returns:
            Shape (draws, N, size of z).
        """
        count, missing = self.num_chains, x.isnan().repeat(self.num_chains, 1)
        given = tuple(part.repeat(count, *[1] * (part.ndim - 1)) for part in context)
        rows = torch.where(missing, model.likelihood.mean.to(x), x.repeat(count, 1))
        kept = []
        for step in range(self.num_steps):
            z = guide.encode(rows, *accepted_context(guide.encode, given)).sample()
            rows = torch.where(missing, model.decode(z, *given).sample().to(x), rows)
            if step >= self.num_steps // 3:
                kept.append(z.unflatten(0, (count, len(x))))
        return torch.cat(kept)
