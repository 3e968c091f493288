"""Figures of a run of several latent layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from pyro_vae import plots
from pyro_vae.experiment.shown import Shown
from pyro_vae.models.hierarchical import HierarchicalModel

__all__ = ["decode_layer", "latent_pictures", "layer_pictures", "split_layers"]

ROWS, DRAWS = 8, 4
"""Number of test rows in the figure of layers, and of draws of each."""
DIMENSIONS = 8
"""Largest number of rows of a traversal."""


def latent_pictures(shown: Shown) -> Iterator[tuple[str, Callable[[], Figure]]]:
    """Yield name and drawing function of the latent space of each layer."""
    for name in _prior(shown).sizes:
        yield f"latent_space_{name}", partial(_latent_space, shown, name)


def layer_pictures(shown: Shown) -> Iterator[tuple[str, Callable[[], Figure]]]:
    """Yield name and drawing function of the pictures of layers on images."""
    yield "layers", partial(_layers, shown)
    for number, name in enumerate(_prior(shown).sizes, 1):
        yield f"traversal_{name}", partial(_traversal, shown, number)


def _prior(shown: Shown) -> Any:
    assert isinstance(shown.model, HierarchicalModel)
    return shown.model.prior


def split_layers(shown: Shown, z: Tensor) -> dict[str, Tensor]:
    """Return codes by the names of the layers."""
    parts: dict[str, Tensor] = _prior(shown)().split(z)
    return parts


def _latent_space(shown: Shown, name: str) -> Figure:
    means = split_layers(shown, shown.means)[name]
    dims = plots.widest_dimensions(means, 2)
    ax = plots.latent_space(means, shown.rows.labels, shown.dataset.class_names, dims=dims, site=name)
    ax.set_title(f"{shown.name}: mean codes of {name}, test rows")
    figure: Figure = ax.figure  # type: ignore[assignment]
    return figure


def _layers(shown: Shown) -> Figure:
    """Draw test rows, and means of x given codes with resampled lower layers."""
    x, *context = shown.dataset.test.evenly_spaced(ROWS).tensors()
    prior, codes = _prior(shown), shown.guide.encode(x, *context).sample()

    def means(z: Tensor, draws: int) -> Tensor:
        beside = (part.repeat_interleave(draws, 0) for part in context)
        return _means(shown, z, *beside).unflatten(0, (len(x), draws))

    groups = {"test row": x.unsqueeze(1), "all kept": means(codes, 1)}
    for below in range(2, len(prior.sizes) + 1):
        kept = ", ".join(list(prior.sizes)[below - 1 :])
        groups[f"{kept} kept"] = means(prior.redrawn(codes.repeat_interleave(DRAWS, 0), below), DRAWS)
    groups["none kept"] = means(shown.model.sample_prior(len(x) * DRAWS), DRAWS)
    ax = plots.redrawn_layers(groups, shown.dataset.data_shape, value_range=shown.value_range)
    ax.set_title(
        f"{shown.name}: means E[x|z], layers kept at a test row's code, the others drawn from the model",
        pad=24,
    )
    figure: Figure = ax.figure  # type: ignore[assignment]
    return figure


def _traversal(shown: Shown, number: int) -> Figure:
    """Draw decoded codes as one dimension of a layer changes, with the layers below at their means."""
    name = list(_prior(shown).sizes)[number - 1]
    codes = split_layers(shown, shown.codes)[name]
    means = split_layers(shown, shown.means)[name]
    use = means.var(0, correction=0)
    dims = use.argsort(descending=True, stable=True)[:DIMENSIONS].tolist()

    ax = plots.traversal_rows(
        lambda values: decode_layer(shown, number, values),
        means[0],
        codes,
        shown.dataset.data_shape,
        dims=dims,
        labels=[f"{name}[{d}], variance of means {float(use[d]):.2f}" for d in dims],
        value_range=shown.value_range,
    )
    ax.set_title(_traversal_title(shown, number, len(dims)))
    figure: Figure = ax.figure  # type: ignore[assignment]
    return figure


def decode_layer(shown: Shown, number: int, values: Any) -> Tensor:
    """Return E[x | z] at codes of one layer, the layers above at the first row's means and those below at the model's.

    Args:
        shown: The run.
        number: The layer, 1 being nearest to x.
        values: Its codes, shape (n, size of the layer).
    """
    start = shown.means[:1]
    parts = split_layers(shown, start.expand(len(values), -1))
    parts[list(parts)[number - 1]] = torch.as_tensor(values).to(start)
    z = _prior(shown).redrawn(torch.cat(list(parts.values()), -1), number, lambda _, p: p.mean)
    return _means(shown, z, *shown.context_of_first_row(len(z)))


def _traversal_title(shown: Shown, number: int, count: int) -> str:
    names = list(_prior(shown).sizes)
    size = _prior(shown).sizes[names[number - 1]]
    many = "the" if count == size else f"the {count} most used of"
    above = f"; {', '.join(names[: number - 1])} at the means that follow" if number > 1 else ""
    return (
        f"{shown.name}: {many} {size} dimensions of {names[number - 1]}, one at a time{above}\n"
        "the others at the first test row's code (framed: the step nearest to it)"
    )


def _means(shown: Shown, z: Tensor, *context: Tensor) -> Tensor:
    mean: Tensor = shown.model.decode(z, *context).mean
    return mean
