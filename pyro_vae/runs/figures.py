"""What a run shows of itself: curves, latent space, and pictures of the data's kind."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pyro_vae import plots
from pyro_vae.checkpoint import StorageError
from pyro_vae.data import DataSet, Split
from pyro_vae.guides import AmortizedGuide
from pyro_vae.models import GenerativeModel
from pyro_vae.priors import StandardNormal

__all__ = ["write_figures"]

SHOWN_ROWS = 5000
"""Rows that the latent space is drawn from."""
PRIOR_DRAWS = 2000
"""Draws that the quantiles of a learned prior are taken from."""


@torch.no_grad()
def write_figures(
    folder: Path,
    model: GenerativeModel,
    guide: AmortizedGuide,
    dataset: DataSet,
    history: list[dict[str, Any]],
) -> None:
    """Draw what a run shows of itself as PNG files: curves, latent space, and pictures of the data's kind.

    Raises:
        StorageError: If one cannot be written.
    """
    x, labels = _some_rows(dataset.test, SHOWN_ROWS)
    try:
        plots.save(plots.training_curves(history), folder / "training_curves.png")
        with torch.random.fork_rng():
            torch.manual_seed(0)
            _latent_figures(folder, guide, x, labels, dataset)
            (_image_figures if dataset.is_image else _table_figures)(folder, model, guide, dataset, x)
    except OSError as error:
        raise StorageError(
            f"Could not write figures to {folder}: {error.strerror}. Free some space."
        ) from error


def _some_rows(split: Split, count: int) -> tuple[Tensor, Tensor | None]:
    """Return evenly spaced rows of a split under their fixed draw, and their labels: some files are sorted by class."""
    chosen = np.linspace(0, len(split) - 1, min(count, len(split))).round().astype(int)
    labels = None if split.labels is None else split.labels[torch.from_numpy(chosen)]
    return replace(split, index=split.index[chosen], labels=labels).tensor(), labels


def _latent_figures(
    folder: Path, guide: AmortizedGuide, x: Tensor, labels: Tensor | None, dataset: DataSet
) -> None:
    z = guide.encode(x).mean
    names = dataset.class_names
    dims = plots.widest_dimensions(z, 3)
    if len(dims) == 3:
        _save(plots.latent_space_3d(z, labels, names, dims=dims), folder / "latent_space_3d.png")
    _save(plots.latent_space(z, labels, names, dims=dims[:2]), folder / "latent_space.png")


def _image_figures(
    folder: Path, model: GenerativeModel, guide: AmortizedGuide, dataset: DataSet, x: Tensor
) -> None:
    shape, (shown, _) = dataset.data_shape, _some_rows(dataset.test, 20)
    _save(
        plots.reconstructions(shown, model.reconstruct(shown, guide), shape), folder / "reconstructions.png"
    )
    means = model.decode(model.prior().sample((100,))).mean
    _save(plots.samples(means, shape), folder / "samples.png")
    if model.latent_dim >= 2:
        dims = plots.widest_dimensions(guide.encode(x).mean, 2)
        decode = lambda z: model.decode(torch.as_tensor(z)).mean  # noqa: E731
        drawn = None if isinstance(model.prior, StandardNormal) else model.prior().sample((PRIOR_DRAWS,))
        traversal = plots.traversal_grid(decode, model.latent_dim, shape, dims=dims, prior_draws=drawn)
        _save(traversal, folder / "traversal.png")


def _table_figures(
    folder: Path, model: GenerativeModel, guide: AmortizedGuide, dataset: DataSet, x: Tensor
) -> None:
    drawn = model.sample(max(len(x), 1000))
    plots.save(plots.marginals(x, drawn, dataset.column_names), folder / "marginals.png")
    plots.save(plots.pair_plot(x, drawn, dataset.column_names), folder / "pair_plot.png")


def _save(ax: Any, path: Path) -> None:
    plots.save(ax.figure, path)
