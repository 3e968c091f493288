"""Figures of a run with context: each style in every class, and images completed from a part."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from pyro_vae import plots
from pyro_vae.data import DataSet, Split
from pyro_vae.data.contexts import ClassContext, EntryContext
from pyro_vae.experiment.shown import Shown

__all__ = [
    "classes",
    "completions",
    "has_classes",
    "has_completions",
    "rows_with_classes",
    "with_classes_filled",
]

CLASSES = 10
"""Largest number of columns of a grid."""
STYLES = 8
"""Number of rows of a grid."""
COMPLETED, DRAWS = 10, 5
"""Number of completed images, and of completions of each."""


def with_classes_filled(dataset: DataSet, guide: Any) -> DataSet:
    """Return a data set whose test rows have the most probable class as context if their label is hidden.

    Figures of a model with a class need a class for each row.
    """
    return replace(dataset, test=rows_with_classes(dataset.test, dataset, guide))


def rows_with_classes(rows: Split, dataset: DataSet, guide: Any) -> Split:
    """Return rows of a data set with the most probable class as context if labels are partly missing."""
    if not (isinstance(dataset.context, ClassContext) and dataset.context.partial):
        return rows
    return rows.with_context(guide.fill(rows.tensor().to(next(guide.parameters()))).cpu())


def has_classes(dataset: DataSet) -> bool:
    """Return whether rows are images with a class."""
    return dataset.is_image and isinstance(dataset.context, ClassContext)


def has_completions(dataset: DataSet) -> bool:
    """Return whether a part of each image is context."""
    return dataset.whole is not None and dataset.whole.is_image


def classes(shown: Shown) -> Figure:
    """Draw styles from the prior, and those of test rows, in every class."""
    context = shown.dataset.context
    assert isinstance(context, ClassContext)
    names = context.classes[:CLASSES]
    rows = shown.dataset.test.evenly_spaced(STYLES)
    x, *labels = rows.tensors()
    codes = shown.guide.encode(x, *labels).mean
    drawn, of_rows = "z ~ p(z), one a row", "z of test rows, one a row"
    panels = {
        drawn: [_means(shown, _noise_of_prior(shown, number), number) for number in range(len(names))],
        of_rows: [_means(shown, codes, number) for number in range(len(names))],
    }
    figure = plots.classes_by_style(
        panels, names, shown.dataset.data_shape, originals={of_rows: x}, value_range=shown.value_range
    )
    figure.suptitle(f"{shown.name}: means E[x|z, class]", y=1.02)
    return figure


def _noise_of_prior(shown: Shown, number: int) -> Tensor:
    """Return z ~ p(z | class), with the same noise in each class."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return shown.model.sample_prior(STYLES, torch.full((STYLES,), number))


def _means(shown: Shown, z: Tensor, number: int) -> Tensor:
    mean: Tensor = shown.model.decode(z, torch.full((len(z),), number)).mean
    return mean


def completions(shown: Shown) -> Figure:
    """Draw test images of which a part is given, with completions of several z."""
    dataset, context = shown.dataset, shown.dataset.context
    assert dataset.whole is not None
    assert isinstance(context, EntryContext)
    x, given = dataset.test.evenly_spaced(COMPLETED).tensors()
    low, high = shown.value_range
    unknown = context.joined(torch.full_like(x, (low + high) / 2), given)
    draws = []
    for _ in range(DRAWS):
        z = shown.model.sample_prior(len(x), given)
        draws.append(context.joined(shown.model.decode(z, given).mean.cpu(), given))
    ax = plots.completions(
        unknown, draws, context.joined(x, given), dataset.whole.data_shape, value_range=shown.value_range
    )
    ax.set_title(f"{shown.name}: completions E[x|z], z ~ p(z), given {context.name}")
    return ax.figure  # type: ignore[return-value]
