"""Figures of a run on images."""

from __future__ import annotations

from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from pyro_vae import plots
from pyro_vae.experiment.shown import Shown

__all__ = ["best_and_worst", "reconstructions", "samples", "traversal"]

COLUMNS = 10
"""Largest number of images in a row, and of rows of a traversal."""
SAMPLES = 64
"""Largest number of images in a grid of samples."""
SOURCES = {"prior": "z ~ p(z)", "mixture": "z ~ mixture fitted to codes"}
"""Distributions of z, as written in titles."""


def reconstructions(shown: Shown) -> Figure:
    """Draw test rows and their reconstructions."""
    x, *context = shown.dataset.test.evenly_spaced(2 * COLUMNS).tensors()
    means = shown.model.reconstruct(x, shown.guide, *context)
    ax = plots.reconstructions(x, means, shown.dataset.data_shape, value_range=shown.value_range)
    ax.set_title(f"{shown.name}: test rows and their reconstructions")
    return ax.figure  # type: ignore[return-value]


def samples(shown: Shown) -> Figure:
    """Draw samples from p(x) and the means of p(x | z), for each source of z."""
    drawn = {SOURCES[source]: _draws_and_means(shown, source) for source in shown.sources}
    figure = plots.samples_and_means(drawn, shown.dataset.data_shape, value_range=shown.value_range)
    figure.suptitle(f"{shown.name}: samples from the model")
    return figure


def _draws_and_means(shown: Shown, source: str) -> tuple[Tensor, Tensor]:
    model, context = shown.sampling_model(source), shown.context(SAMPLES)
    likelihood = model.decode(model.sample_prior(SAMPLES, *context), *context)
    return likelihood.sample(), likelihood.mean


def best_and_worst(shown: Shown) -> Figure:
    """Draw the best, the median and the worst test rows by log p(x), above their reconstructions."""
    rows, scores = shown.scores
    groups = {}
    for name, chosen in plots.ranked(scores.value, COLUMNS).items():
        x, *context = rows.select(chosen).tensors()
        means = shown.model.reconstruct(x, shown.guide, *context)
        groups[name] = x, means, scores.value[torch.from_numpy(chosen)]
    figure = plots.best_and_worst(groups, shown.dataset.data_shape, value_range=shown.value_range)
    estimate = f"importance sampling, K = {scores.num_samples}"
    figure.suptitle(f"{shown.name}: {len(scores)} test rows by log p(x), nats ({estimate})")
    return figure


def traversal(shown: Shown) -> Figure:
    """Draw decoded z along its dimensions: a grid of two dimensions, or a row for each of the most used."""
    draw = _grid_of_two if shown.model.latent_dim == 2 else _rows_of_many
    ax = draw(shown)
    figure: Figure = ax.figure
    return figure


def _grid_of_two(shown: Shown) -> Any:
    ax = plots.traversal_grid(
        lambda z: _decode(shown, z),
        2,
        shown.dataset.data_shape,
        prior_draws=shown.codes.cpu(),
        value_range=shown.value_range,
    )
    ax.set_title(f"{shown.name}: means E[x|z] on a grid of z, quantiles of the test rows' codes")
    return ax


def _rows_of_many(shown: Shown) -> Any:
    use, name, unit = shown.means.var(0, correction=0), "variance of means", ""
    if shown.kl is not None:
        use, name, unit = shown.kl, "KL", " nats"
    dims = use.argsort(descending=True, stable=True)[:COLUMNS].tolist()
    ax = plots.traversal_rows(
        lambda z: _decode(shown, z),
        shown.means[0],
        shown.codes,
        shown.dataset.data_shape,
        dims=dims,
        labels=[f"z[{d}], {name} {float(use[d]):.1f}{unit}" for d in dims],
        value_range=shown.value_range,
    )
    many = "the" if len(dims) == shown.model.latent_dim else f"the {len(dims)} most used of"
    ax.set_title(
        f"{shown.name}: {many} {shown.model.latent_dim} dimensions of z, one at a time\n"
        "the others at the first test row's code (framed: the step nearest to it)",
    )
    return ax


def _decode(shown: Shown, z: Any) -> Tensor:
    mean: Tensor = shown.model.decode(torch.as_tensor(z), *shown.context_of_first_row(len(z))).mean
    return mean
