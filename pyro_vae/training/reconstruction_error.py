"""A metric: the reconstruction error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from pyro_vae._checks import check
from pyro_vae._inputs import entry_for
from pyro_vae.data.adapters import as_blocks

__all__ = ["ReconstructionError"]


@dataclass(frozen=True)
class ReconstructionError:
    """Mean over rows of ||x - E[x | z]||^2 at z = E[z | x], in squared data units, summed over columns.

    Args:
        data: Rows (and context) in any container that `fit` accepts, usually the validation rows; a `Split` is used
            under its fixed draw.
    """

    data: Any

    def __call__(self, model: Any, guide: Any) -> float:
        """Return the error of two programs.

        Args:
            model: A model with `reconstruct(x, guide, *context)`, such as `GenerativeModel`.
            guide: A guide with `encode(x, *context)`, such as `AmortizedGuide`.

        Raises:
            InputError: If the model cannot reconstruct.
        """
        check(
            hasattr(model, "reconstruct"),
            f"Expected a model with `reconstruct` for the reconstruction error; {type(model).__name__} has none.",
        )
        entry = entry_for(model, guide)
        total, count = 0.0, 0
        for x, *context in as_blocks(self.data, entry.device or "cpu", entry=entry):
            total += float(_squared_errors(x, model.reconstruct(x, guide, *context)).sum())
            count += len(x)
        return total / count


def _squared_errors(x: Tensor, reconstruction: Tensor) -> Tensor:
    """Return the squared distance of each row, shape (N,), float64."""
    return (x.double() - reconstruction.double()).square().sum(-1)
