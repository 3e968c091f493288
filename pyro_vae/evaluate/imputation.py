"""Imputation of missing entries given the observed ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from pyro_vae._checks import check, check_integer
from pyro_vae._inputs import entry_for
from pyro_vae._programs import evaluation_mode
from pyro_vae.evaluate._streaming import without_side_effects
from pyro_vae.evaluate._weighted_imputation import Imputation, impute_from_runs
from pyro_vae.evaluate._weighted_runs import weighted_runs
from pyro_vae.progress import progress_bar

__all__ = ["Imputation", "impute"]


def impute(
    model: Callable[..., Any],
    guide: Callable[..., Any],
    x: Any,
    num_samples: int = 1000,
    *,
    num_draws: int = 0,
    columns: Sequence[Any] | None = None,
    max_plate_nesting: int = 1,
    seed: int = 0,
    progress: bool = False,
) -> Imputation:
    """Fill in missing entries by importance sampling (MIWAE: Mattei & Frellsen 2019, eq. 10-12).

    With z_k ~ q(z | x_obs) and w_k = p(x_obs | z_k) p(z_k) / q(z_k | x_obs),

        E[x_mis | x_obs] = sum_k w_k E[x_mis | z_k] / sum_k w_k,

    and likewise the second moment and the probability of each level. A draw is x_mis ~ p(x_mis | z_k) with k drawn by
    its weight (sampling importance resampling). Samples are processed in chunks. The estimates converge with
    num_samples if values are missing at random given the observed ones. Modules are in evaluation mode during the
    call.

    Args:
        model: A Pyro program with one observed site, whose log-probability ignores entries that are NaN.
        guide: A Pyro program with the model's latent sites, which takes rows with NaN.
        x: Rows of shape (N, D), NaN where missing, in any container that `fit` takes; with context in a tuple.
        num_samples: Samples of z per row, K, at least 2.
        num_draws: Number of completed rows to draw, M.
        columns: The columns with their levels; by default those of `model.likelihood`.
        max_plate_nesting: Depth of nested plates in the programs.
        seed: Seed of the noise; the global random state is restored.
        progress: Whether to show a progress bar.

    Raises:
        InputError: If an argument is out of range, the programs cannot be evaluated row by row, or none of a row's
            samples has a density above zero.

    Example:
        >>> import numpy as np
        >>> from sklearn.datasets import load_iris
        >>> from pyro_vae import VAE
        >>> x = load_iris().data
        >>> x[::2, 0] = np.nan
        >>> vae = VAE(likelihood="table", epochs=5, validation_fraction=0, random_state=0).fit(x)
        >>> bool(np.isfinite(vae.impute(x)).all())
        True
    """
    check_integer(num_samples, "num_samples", minimum=2)
    check_integer(num_draws, "num_draws", minimum=0)
    check_integer(seed, "seed", minimum=0)
    data = entry_for(model, guide).rows(x)
    levels = _levels(model, columns, data[0].shape[1])
    incomplete = data[0].isnan().any(1)
    part = tuple(values[incomplete] for values in data)
    bar = progress_bar(len(part[0]), "rows", "imputing", shown=progress and len(part[0]) > 0)
    with without_side_effects(data), evaluation_mode(model, guide), bar:
        blocks = weighted_runs(model, guide, part, num_samples, seed, max_plate_nesting)
        return impute_from_runs(data[0], levels, num_draws, blocks, bar.update)


def _levels(model: Any, columns: Sequence[Any] | None, data_dim: int) -> Tensor:
    """Return the number of levels of each column, 0 if it has none, shape (D,)."""
    found = getattr(getattr(model, "likelihood", None), "columns", None) if columns is None else columns
    counts = [0] * data_dim if found is None else [len(column.levels) for column in found]
    check(
        len(counts) == data_dim,
        f"Expected `columns` with one entry for each of the {data_dim} columns of x; got {len(counts)}.",
    )
    return torch.tensor(counts)
