"""Importance-weighted runs of the programs, with the distribution of x at each of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor

from pyro_vae._checks import InputError, check
from pyro_vae.objectives import draw
from pyro_vae.objectives.independence import check_programs
from pyro_vae.seeds import derive_seed

__all__ = ["WeightedRun", "cell_log_prob", "weighted_runs"]

ROWS = 64
"""Rows in a block. The noise of a row depends on the seed and the row's index."""
ENTRIES = 2**21
"""Maximum entries of x, over rows and samples, in one run of the programs: 8 MiB in single precision."""


class WeightedRun(NamedTuple):
    """One run of guide and model on a block of n rows, with S samples of z for each row.

    Args:
        log_weights: log p(x, z) - log q(z | x), shape (S, n), float64, nats.
        likelihood: p(x | z), batch shape (S, n).
    """

    log_weights: Tensor
    likelihood: TorchDistribution


def weighted_runs(
    model: Callable[..., Any],
    guide: Callable[..., Any],
    data: tuple[Tensor, ...],
    num_samples: int,
    seed: int,
    max_plate_nesting: int = 1,
) -> Iterator[tuple[slice, Iterator[WeightedRun]]]:
    """Yield slices of rows, each with its runs, which have `num_samples` samples in total.

    Args:
        model: A Pyro program with one observed site, which observes its first argument.
        guide: A Pyro program with the model's latent sites.
        data: Rows, shape (N, data_dim), NaN where missing, and context.
        num_samples: Samples of z per row, at least 2.
        seed: Seed of the noise.
        max_plate_nesting: Depth of nested plates in the programs.

    Raises:
        InputError: If the programs cannot be evaluated row by row, or observe several sites.
    """
    nesting = max_plate_nesting
    check_programs(model, guide, *data, num_particles=num_samples, max_plate_nesting=nesting, importance=True)
    for start in range(0, len(data[0]), ROWS):
        rows = slice(start, min(start + ROWS, len(data[0])))
        block = tuple(part[rows] for part in data)
        yield rows, _runs(model, guide, block, num_samples, derive_seed(seed, start), nesting)


def _runs(
    model: Callable[..., Any],
    guide: Callable[..., Any],
    block: tuple[Tensor, ...],
    num_samples: int,
    seed: int,
    nesting: int,
) -> Iterator[WeightedRun]:
    torch.manual_seed(seed)
    largest = max(2, ENTRIES // block[0].numel())
    count = max(1, -(-num_samples // largest))
    # Sizes differ by at most 1: no run has a single sample, which would have no sample dimension.
    sizes = [(number + 1) * num_samples // count - number * num_samples // count for number in range(count)]
    for size in sizes:
        draws = draw(model, guide, *block, num_particles=size, max_plate_nesting=nesting)
        observed = [site for site in draws.model_sites if site["is_observed"]]
        check(
            len(observed) == 1,
            f"Expected a model of one observed site; it observes {[site['name'] for site in observed]}.",
        )
        weights = draws.densities.log_weights.double()
        # A weight that is not finite counts as 0.
        weights = weights.nan_to_num(nan=-torch.inf, posinf=-torch.inf, neginf=-torch.inf)
        yield WeightedRun(weights, observed[0]["fn"])


def cell_log_prob(likelihood: Any, x: Tensor) -> Tensor:
    """Return log p(x_j | z) of each entry of rows x (n, D), shape (S, n, D), 0 where it is missing.

    Raises:
        InputError: If the entries are not independent given z.
    """
    base: Any = getattr(likelihood, "base_dist", None)
    independent: Any
    for independent in (likelihood, base):  # a plate may wrap the likelihood
        if hasattr(independent, "cell_log_prob"):
            own: Tensor = independent.cell_log_prob(x)
            return own.expand(*likelihood.batch_shape, x.shape[-1])
    if base is None or base.event_shape or len(likelihood.event_shape) != 1:
        raise InputError(
            f"Expected a likelihood of independent entries, with `cell_log_prob`; got {type(likelihood).__name__}. "
            "Take `--likelihood table` or a normal one."
        )
    cells: Tensor = base.log_prob(x)
    return torch.where(x.isnan(), 0.0, cells)
