"""New rows of a model."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pyro_vae._checks import check_integer
from pyro_vae._inputs import entry_for
from pyro_vae._programs import evaluation_mode
from pyro_vae.models.generative import GenerativeModel
from pyro_vae.progress import progress_bar
from pyro_vae.uses._blocks import rows_at_once

__all__ = ["generate_rows"]

ROWS = 500
"""Maximum number of rows decoded together."""


@torch.no_grad()
def generate_rows(
    model: GenerativeModel,
    num_rows: int,
    *context: Any,
    means: bool = False,
    seed: int = 0,
    progress: bool = False,
) -> Tensor:
    """Draw z ~ p(z | context) and return x ~ p(x | z, context), or E[x | z, context].

    Modules are in evaluation mode during the call. See `with_code_mixture` for drawing z from a mixture fitted to
    codes.

    Args:
        model: The generative program.
        num_rows: Number of rows.
        context: Arrays or tensors with one entry for each of these rows.
        means: Whether to return means of p(x | z) in place of draws; for categorical columns the most probable level.
        seed: Seed of all draws; the global random state is restored.
        progress: Whether to show a progress bar.

    Returns:
        Shape (num_rows, data_dim), in data units.

    Raises:
        InputError: If a number is out of range, or the context has another number of rows.
    """
    check_integer(num_rows, "num_rows")
    check_integer(seed, "seed", minimum=0)
    given = entry_for(model).context(context, num_rows)
    parts = []
    bar = progress_bar(num_rows, "rows", "generating", shown=progress)
    with evaluation_mode(model), torch.random.fork_rng(), bar:
        torch.manual_seed(seed)
        most = rows_at_once(model, 1, ROWS)
        for start in range(0, num_rows, most):
            size, own = min(most, num_rows - start), [part[start : start + most] for part in given]
            likelihood = model.decode(model.sample_prior(size, *own), *own)
            parts.append(likelihood.mean if means else likelihood.sample())
            bar.update(size)
    return torch.cat(parts)
