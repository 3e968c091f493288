"""Reconstruction error of each row, for autoencoders, which have no likelihood."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pyro_vae._inputs import entry_for
from pyro_vae._programs import evaluation_mode, local_parameters
from pyro_vae.data.containers import BLOCK
from pyro_vae.objectives import Reconstruction, draw
from pyro_vae.statistics import mean_and_se

__all__ = ["RowErrors", "reconstruction_errors"]


@dataclass(frozen=True)
class RowErrors:
    """The error of each row's reconstruction, larger for anomalies. It is neither log p(x) nor a bound on it.

    Args:
        value: `sum_j e(x_j, d(z)_j)`, shape (N,), float64.
        squared_norm: |z|^2 of each row's code, shape (N,), float64.
        error: The error e: "squared", "absolute" or "cross-entropy".
    """

    value: Tensor
    squared_norm: Tensor
    error: str = "squared"

    @property
    def mean(self) -> float:
        """Mean over rows."""
        return float(self.value.mean())

    @property
    def se(self) -> float:
        """Standard error of the mean, from the spread over rows; NaN for one row."""
        return mean_and_se(self.value)[1]

    def summary(self) -> dict[str, Any]:
        """Return the numbers by name."""
        return {
            "error": self.error,
            "mean": self.mean,
            "se": self.se,
            "num_examples": len(self.value),
            "squared_norm_of_codes": float(self.squared_norm.mean()),
        }

    def __repr__(self) -> str:
        return f"RowErrors({self.error} error {self.mean:.4g} ± {self.se:.2g} a row, {len(self.value)} rows)"


@torch.no_grad()
def reconstruction_errors(
    model: Callable[..., Any],
    guide: Callable[..., Any],
    data: Any,
    objective: Reconstruction | None = None,
) -> RowErrors:
    """Return the error of each row's reconstruction by an autoencoder, in evaluation mode.

    Args:
        model: A Pyro program with an observed site.
        guide: A Pyro program with a point at each of the model's latent sites, such as `PointGuide`.
        data: Rows in any container that `fit` takes, or batches of them that can be read once.
        objective: Objective that defines the error, squared by default; its penalties are not used.

    Raises:
        InputError: If the guide is not a point estimate, or a program fails on the rows.
    """
    objective = objective or Reconstruction()
    parts = []
    with torch.random.fork_rng(), evaluation_mode(model, guide), local_parameters():
        torch.manual_seed(0)
        for block in entry_for(model, guide).blocks(data, BLOCK):
            draws = draw(model, guide, *block, max_plate_nesting=objective.max_plate_nesting, bound=False)
            parts.append([part.double().cpu() for part in objective.parts(draws)])
    value, squared_norm = (torch.cat(part) for part in zip(*parts, strict=True))
    return RowErrors(value, squared_norm, objective.error)
