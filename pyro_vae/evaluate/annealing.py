"""Annealed importance sampling: log p(x) along a path from the guide, or the prior, to the posterior.

Transitions are Hamiltonian Monte Carlo. Annealing shares only the guide with importance sampling, so agreement of the
two is informative.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pyro_vae._checks import check, check_integer
from pyro_vae._inputs import entry_for
from pyro_vae._programs import evaluation_mode
from pyro_vae.evaluate._annealed_chains import AnnealedChains, AnnealedRows
from pyro_vae.evaluate._many_samples import simulate_rows
from pyro_vae.evaluate._streaming import without_side_effects
from pyro_vae.evaluate.bounds import AnnealedLogLikelihood, BidirectionalBounds
from pyro_vae.evaluate.temperatures import Annealing
from pyro_vae.objectives.independence import check_programs
from pyro_vae.objectives.unscored import unscored, with_placeholder_rows

__all__ = ["annealed_log_likelihood", "bidirectional_bounds"]


def annealed_log_likelihood(
    model: Callable[..., Any],
    guide: Callable[..., Any],
    x: Any,
    annealing: Annealing | None = None,
    *,
    num_simulated: int = 20,
    batch_size: int = 100,
    max_plate_nesting: int = 1,
    seed: int = 0,
    progress: bool = False,
) -> AnnealedLogLikelihood:
    """Estimate log p(x) of each row by annealed importance sampling (Neal 2001).

    `E[mean over chains of w] = p(x)`, so the returned logarithm is a lower bound in expectation. Weights are summed in
    float64. Modules are in evaluation mode during the call; the global random state is restored. A row that cannot be
    scored gets NaN or minus infinity; the noise of other rows may then differ, since the search for step sizes is
    shared by the rows of a batch.

    Args:
        model: A Pyro program with all its sites in the plate `"data"` and continuous latents.
        guide: A Pyro program with the model's latent sites.
        x: Rows of shape (N, data_dim), or a tuple of rows and context.
        annealing: The settings.
        num_simulated: Number of rows drawn from the model to run both directions as a check; 0 for none.
        batch_size: Rows per batch; each has `num_chains` latents and gradients.
        max_plate_nesting: Depth of nested plates in the programs.
        seed: Seed of all randomness.
        progress: Whether to show a progress bar on stderr.

    Raises:
        InputError: If a latent is discrete or outside the plate, or a density is not finite at the start.

    Example:
        >>> from sklearn.datasets import load_iris
        >>> from pyro_vae import ExactLinearGuide, LinearGaussianModel, Annealing, annealed_log_likelihood
        >>> from pyro_vae.baselines import PPCA
        >>> x = load_iris().data
        >>> ppca = PPCA(n_components=2).fit(x)
        >>> model = LinearGaussianModel.from_baseline(ppca)
        >>> guide = ExactLinearGuide(model)
        >>> estimate = annealed_log_likelihood(model, guide, x[:3], Annealing(5, 2), num_simulated=0)
        >>> estimate.value.shape
        torch.Size([3])
    """
    annealing, data = annealing or Annealing(), entry_for(model, guide).rows(x)
    check_integer(num_simulated, "num_simulated", minimum=0)
    check(len(data[0]) > 0, "Expected at least one row x; got none.")

    simulated = None
    if num_simulated:  # first, because not every program can be simulated
        index = torch.arange(num_simulated) % len(data[0])
        simulated = bidirectional_bounds(
            model, guide, tuple(values[index.to(values.device)] for values in data), annealing,
            batch_size=batch_size, max_plate_nesting=max_plate_nesting, seed=seed + 1, progress=progress,
        )  # fmt: skip

    with without_side_effects(data), evaluation_mode(model, guide):
        offset = _checked(model, guide, data, annealing, max_plate_nesting)

    def forward(chains: AnnealedChains, _: slice) -> tuple[Tensor, ...]:
        log_weight, accept_rate = chains.forward()
        return *_log_mean_exp(log_weight), accept_rate

    others = data if (offset != 0).all() else with_placeholder_rows(data, offset != 0)
    rows = AnnealedRows(annealing, model, guide, others, batch_size, max_plate_nesting, seed, progress)
    value, se, accept_rate = rows(forward)
    offset = offset.to(value.device)
    return AnnealedLogLikelihood(
        value + offset,
        se.masked_fill(offset != 0, math.nan),
        accept_rate.masked_fill(offset != 0, math.nan),
        simulated,
    )


def bidirectional_bounds(
    model: Callable[..., Any],
    guide: Callable[..., Any],
    template: Any,
    annealing: Annealing | None = None,
    *,
    batch_size: int = 100,
    max_plate_nesting: int = 1,
    seed: int = 0,
    progress: bool = False,
) -> BidirectionalBounds:
    """Bound log p(x) from both sides on rows drawn from the model (Grosse, Ghahramani & Adams 2015).

    The z of a simulated row is an exact draw of p(z | x). Annealing in reverse gives `E[mean over chains of 1 / w] =
    1 / p(x)`, so minus its logarithm is an upper bound in expectation. The chains of a row first take 20 transitions
    plus a tenth of `num_temperatures` at the posterior, which is invariant under them; if they mix slowly, `upper_se`
    is too small.

    Args:
        model: A Pyro program with continuous latents, whose one observed site is its first argument.
        guide: A Pyro program with the model's latent sites.
        template: Rows, of which only number and shape are used, or a tuple of rows and context; the values of the
            context are used.
        annealing: The settings.
        batch_size: Rows per batch.
        max_plate_nesting: Depth of nested plates in the programs.
        seed: Seed of all randomness.
        progress: Whether to show a progress bar on stderr.

    Raises:
        InputError: As for `annealed_log_likelihood`, or if rows cannot be drawn from the model.
    """
    annealing, data = annealing or Annealing(), entry_for(model, guide).rows(template)
    with without_side_effects(data), evaluation_mode(model, guide):
        torch.manual_seed(seed)
        drawn, latents = simulate_rows(model, data, max_plate_nesting)

    def both_ways(chains: AnnealedChains, rows: slice) -> tuple[Tensor, ...]:
        exact = chains.densities.pack({name: value[:, rows] for name, value in latents.items()})
        lower, lower_se = _log_mean_exp(chains.forward()[0])
        upper, upper_se = _log_mean_exp(-chains.backward(exact))
        return lower, lower_se, -upper, upper_se

    rows = AnnealedRows(annealing, model, guide, drawn, batch_size, max_plate_nesting, seed, progress)
    lower, lower_se, upper, upper_se = rows(both_ways, directions=2)
    return BidirectionalBounds(lower, lower_se, upper, upper_se, annealing.num_chains, drawn)


def _checked(
    model: Callable[..., Any],
    guide: Callable[..., Any],
    data: tuple[Tensor, ...],
    annealing: Annealing,
    max_plate_nesting: int,
) -> Tensor:
    """Check the programs; return `unscored` of the rows, shape (N,)."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        check_programs(
            model, guide, *data, max_plate_nesting=max_plate_nesting, importance=annealing.start == "guide"
        )
        return unscored(model, guide, data, max_plate_nesting)


def _log_mean_exp(log_values: Tensor) -> tuple[Tensor, Tensor]:
    """Return log of the mean over chains, and its standard error by the delta method, each (N,)."""
    largest = log_values.max(0).values
    scaled = (log_values - largest).exp()
    mean = scaled.mean(0)
    return mean.log() + largest, scaled.std(0) / mean / len(scaled) ** 0.5
