"""Figures of an autoencoder on images that differ from those of a model with a likelihood."""

from __future__ import annotations

import torch
from matplotlib.figure import Figure

from pyro_vae import plots
from pyro_vae.evaluate.reconstruction import reconstruction_errors
from pyro_vae.experiment.image_figures import COLUMNS, SAMPLES
from pyro_vae.experiment.shown import Shown

__all__ = ["best_and_worst", "samples"]

SOURCES = {
    "prior": "z ~ N(0, I), which the codes do not follow",
    "mixture": "z ~ mixture fitted to codes",
}
"""Distributions of z, as written in titles."""


def samples(shown: Shown) -> Figure:
    """Draw decoded z from each source, without noise."""
    drawn, context = {}, shown.context(SAMPLES)
    for source in shown.sources:
        model = shown.sampling_model(source)
        drawn[SOURCES[source]] = model.decode(model.sample_prior(SAMPLES, *context), *context).mean
    figure = plots.samples_by_source(drawn, shown.dataset.data_shape, value_range=shown.value_range)
    figure.suptitle(f"{shown.name}: decoded z, not of any row")
    return figure


def best_and_worst(shown: Shown) -> Figure:
    """Draw the best, the median and the worst test rows by the error of their reconstructions, above these."""
    errors = reconstruction_errors(shown.model, shown.guide, shown.rows, shown.error)
    groups = {}
    for name, chosen in plots.ranked(-errors.value, COLUMNS).items():
        x, *context = shown.rows.select(chosen).tensors()
        means = shown.model.reconstruct(x, shown.guide, *context)
        groups[name] = x, means, errors.value[torch.from_numpy(chosen)]
    figure = plots.best_and_worst(groups, shown.dataset.data_shape, value_range=shown.value_range)
    kind = errors.error if errors.error == "cross-entropy" else f"{errors.error} error"
    figure.suptitle(f"{shown.name}: {len(shown.rows)} test rows by the {kind} of their reconstructions")
    return figure
