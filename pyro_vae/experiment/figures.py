"""Figures of a run: curves, latent space, and figures for the type of data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties

from pyro_vae import plots
from pyro_vae.data import DataSet
from pyro_vae.evaluate import LogLikelihood
from pyro_vae.experiment import (
    autoencoder_figures,
    code_figures,
    context_figures,
    image_figures,
    layer_figures,
)
from pyro_vae.experiment.denoising import denoising
from pyro_vae.experiment.shown import Shown
from pyro_vae.guides import AmortizedGuide
from pyro_vae.models.generative import GenerativeModel
from pyro_vae.models.hierarchical import HierarchicalModel
from pyro_vae.networks.corruption import corruption_of
from pyro_vae.objectives import Reconstruction
from pyro_vae.progress import progress_bar

__all__ = ["write_figures"]

Draw = Callable[[], Figure]


def write_figures(
    folder: Path,
    model: GenerativeModel,
    guide: AmortizedGuide,
    dataset: DataSet,
    history: list[dict[str, Any]],
    *,
    best_epoch: int | None = None,
    scores: LogLikelihood | None = None,
    sample_from: Sequence[str] = ("prior",),
    error: Reconstruction | None = None,
    progress: bool = False,
) -> list[str]:
    """Write the figures of a run as PNG files: curves, latent space, and figures for the type of data.

    A figure that cannot be drawn or written is skipped; an older file of its name is removed.

    Args:
        folder: Output folder.
        model: The generative program, in evaluation mode.
        guide: The inference program.
        dataset: Data set whose test rows are shown.
        history: History of training, one dict per epoch.
        best_epoch: The epoch of the weights of the programs, as in `FitResult`.
        scores: log p(x) of evenly spaced test rows; estimated on a few of them if None.
        sample_from: Distribution from which z of samples is drawn: "prior", "mixture" (see `evaluate.samples`) or both.
        error: Reconstruction error of an autoencoder; None for a model with a likelihood.
        progress: Whether to show a progress bar on stderr.

    Returns:
        Notes on the missing figures, one for each reason.
    """
    dataset = context_figures.with_classes_filled(dataset, guide)
    shown = Shown(model, guide, dataset, scores, sample_from, error)
    pictures = dict(_pictures(shown, history, best_epoch))
    missing: dict[str, list[str]] = {}
    with (
        progress_bar(len(pictures), "figures", "drawing", shown=progress, leave=False) as bar,
        torch.no_grad(),
        torch.random.fork_rng(),
    ):
        torch.manual_seed(0)
        for name, draw in pictures.items():
            path = folder / f"{name}.png"
            try:
                plots.save(draw(), path)
            except Exception as error:
                missing.setdefault(_reason(error), []).append(path.name)
                with suppress(OSError):
                    path.unlink(missing_ok=True)
            bar.update()
    return [f"{', '.join(names)} could not be drawn: {reason}." for reason, names in missing.items()]


def _reason(error: Exception) -> str:
    text = getattr(error, "strerror", None) or " ".join(str(error).split())
    return (text or type(error).__name__).rstrip(".")


def _pictures(
    shown: Shown, history: list[dict[str, Any]], best_epoch: int | None
) -> Iterator[tuple[str, Draw]]:
    """Yield the name of each figure of a run, and the function that draws it."""
    yield "training_curves", partial(_training_curves, shown, history, best_epoch)
    layered, has_codes = isinstance(shown.model, HierarchicalModel), code_figures.has_codes(shown.guide)
    if layered:
        yield from layer_figures.latent_pictures(shown)
    elif has_codes:
        yield from code_figures.pictures(shown)
    else:
        if shown.model.latent_dim >= 3:
            yield "latent_space_3d", partial(_latent_space, shown, plots.latent_space_3d, 3)
        yield "latent_space", partial(_latent_space, shown, plots.latent_space, 2)
    if shown.dataset.is_image:
        yield "reconstructions", partial(image_figures.reconstructions, shown)
        if corruption_of(shown.guide) is not None:
            yield "denoising", partial(denoising, shown)
        own = image_figures if shown.error is None else autoencoder_figures
        yield "best_and_worst", partial(own.best_and_worst, shown)
        yield "samples", partial(own.samples, shown)
        if layered:
            yield from layer_figures.layer_pictures(shown)
        elif not has_codes:
            yield "traversal", partial(image_figures.traversal, shown)
        if context_figures.has_classes(shown.dataset):
            yield "classes", partial(context_figures.classes, shown)
    elif context_figures.has_completions(shown.dataset):
        yield "completions", partial(context_figures.completions, shown)
    else:
        yield "marginals", partial(_columns, shown, plots.marginals)
        yield "pair_plot", partial(_columns, shown, plots.pair_plot)


def _training_curves(shown: Shown, history: list[dict[str, Any]], best_epoch: int | None) -> Figure:
    figure = plots.training_curves(history, best_epoch=best_epoch)
    figure.suptitle(f"{shown.name}: training")
    return figure


def _latent_space(shown: Shown, draw: Callable[..., Any], count: int) -> Figure:
    dims = plots.widest_dimensions(shown.means, 3)[:count]
    ax = draw(shown.means, shown.rows.labels, shown.dataset.class_names, dims=dims)
    what = "means of q(z|x)" if shown.error is None else "codes"
    ax.set_title(f"{shown.name}: {what}, test rows")
    figure: Figure = ax.figure
    return figure


def _columns(shown: Shown, draw: Callable[..., Figure]) -> Figure:
    """Draw columns of test rows and of samples."""
    columns = getattr(shown.model.likelihood, "columns", None)
    levels = None if columns is None else [column.levels for column in columns]
    figure = draw(shown.x, shown.sampled_rows, shown.dataset.column_names, levels=levels)
    figure.legends[0].set_title(f"{shown.name}: test rows and samples", FontProperties(size="large"))
    return figure
