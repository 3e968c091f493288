"""Denoising of corrupted rows, and its errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pyro_vae._checks import check
from pyro_vae._inputs import entry_for
from pyro_vae._programs import evaluation_mode
from pyro_vae.data.containers import BLOCK
from pyro_vae.networks.corruption import corruption_of, rows_as_given
from pyro_vae.statistics import mean_and_se

__all__ = ["DenoisingErrors", "denoise", "denoising_errors"]


@torch.no_grad()
def denoise(model: Any, guide: Any, x: Any, *context: Any, batch_size: int = 1000) -> Tensor:
    """Return the mean of p(x | z) at the mean of q(z | x~) for corrupted rows x~, without further corruption.

    Args:
        model: A model with `reconstruct(x, guide, *context)`, such as `GenerativeModel`.
        guide: A guide with `encode(x, *context)`, such as `AmortizedGuide`; usually trained on corrupted rows.
        x: The corrupted rows, in any container that `fit` takes, in data units.
        context: Arrays or tensors, rows first, (N, ...).
        batch_size: Rows per batch.

    Returns:
        Shape (N, data_dim), in data units.
    """
    with evaluation_mode(model, guide), rows_as_given(guide):
        clean: Tensor = model.reconstruct(x, guide, *context, batch_size=batch_size)
    return clean


@dataclass(frozen=True)
class DenoisingErrors:
    """Squared distances from the clean rows, summed over columns.

    Args:
        corrupted: Distances of the corrupted rows, shape (N,), float64.
        denoised: Distances of the denoised rows, shape (N,), float64.
        unit: Unit of the distances.
    """

    corrupted: Tensor
    denoised: Tensor
    unit: str = "data units"

    def summary(self) -> dict[str, Any]:
        """Return means and standard errors by name."""
        found = {}
        for name in ("corrupted", "denoised"):
            mean, se = mean_and_se(getattr(self, name))
            found[name] = {"mean": mean, "se": se}
        unit = f"squared distance from the clean row in {self.unit}, summed over its columns"
        return found | {"num_examples": len(self.denoised), "unit": unit}

    def line(self) -> str:
        """Return a line for the closing table of a run."""
        (before, before_se), (after, after_se) = mean_and_se(self.corrupted), mean_and_se(self.denoised)
        return (
            f"squared distance of {len(self.denoised)} test rows from the clean ones in {self.unit}, summed over "
            f"columns: corrupted {before:.5g} ± {before_se:.2g}, denoised {after:.5g} ± {after_se:.2g}"
        )


@torch.no_grad()
def denoising_errors(model: Any, guide: Any, data: Any, scale: Tensor | None = None) -> DenoisingErrors:
    """Corrupt rows as the guide's encoder does, with noise fixed for each row, and measure the errors before and after.

    Args:
        model: A model with `reconstruct(x, guide, *context)`.
        guide: A guide whose encoder is a `CorruptedInput`.
        data: Rows in any container that `fit` takes, or batches of them.
        scale: Standard deviation of each column, shape (data_dim,), by which differences are divided if columns have
            different units; None for data units.

    Raises:
        InputError: If the guide has no corruption.
    """
    corruption = corruption_of(guide)
    check(
        corruption is not None,
        f"Expected a guide whose encoder is a CorruptedInput, for rows to be corrupted; {type(guide).__name__} has "
        "none. Corrupt rows yourself, and call `denoise`.",
    )
    assert corruption is not None
    errors = []
    for x, *context in entry_for(model, guide).blocks(data, BLOCK):
        given = corruption.fixed(x)
        found = given, denoise(model, guide, given, *context)
        differences = (x.double().cpu() - part.double().cpu() for part in found)
        errors.append([(part if scale is None else part / scale).square().sum(-1) for part in differences])
    corrupted, denoised = (torch.cat(part) for part in zip(*errors, strict=True))
    unit = "data units" if scale is None else "standard deviations of columns"
    return DenoisingErrors(corrupted, denoised, unit)
