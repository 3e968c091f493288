"""Figures of a run with discrete latents."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn.functional import one_hot

from pyro_vae import plots
from pyro_vae.evaluate.codes import CodeUsage, code_usage, state_probs
from pyro_vae.experiment.shown import Shown
from pyro_vae.guides import DiscreteGuide

__all__ = ["has_codes", "pictures"]

SHOWN_VARIABLES = 10


def has_codes(guide: Any) -> bool:
    """Return whether z is made of discrete variables."""
    return isinstance(guide, DiscreteGuide)


def pictures(shown: Shown) -> Iterator[tuple[str, Callable[[], Figure]]]:
    """Yield name and function of the pictures of codes."""
    yield "code_usage", partial(_usage, shown)
    if shown.dataset.is_image:
        yield "codes", partial(_tiles, shown)


def _usage(shown: Shown) -> Figure:
    found = code_usage(shown.guide, shown.x, *shown.rows.context)
    ax = plots.code_usage(found.usage, found.information)
    ax.set_title(
        f"{shown.name}: use of {_variables(found)}, test rows\nperplexity {found.perplexity.mean():.1f} on average",
        fontsize="medium",
    )
    figure: Any = ax.figure
    return figure


def _tiles(shown: Shown) -> Figure:
    found = code_usage(shown.guide, shown.x, *shown.rows.context)
    chosen = found.information.argsort(descending=True, stable=True)[:SHOWN_VARIABLES].tolist()
    q = shown.guide.encode(shown.x[:1], *shown.context_of_first_row(1))
    ax = plots.code_tiles(
        lambda states: _decode(shown, states),
        state_probs(q)[0].argmax(-1),
        found.usage,
        shown.dataset.data_shape,
        variables=chosen,
        labels=[_label(found, number) for number in chosen],
        value_range=shown.value_range,
    )
    many = "all" if len(chosen) == len(found.usage) else f"the {len(chosen)} most informative of"
    ax.set_title(
        f"{shown.name}: E[x|z], {many} {_variables(found)}, one tile a state\n"
        "the others at the first test row's code (framed); shares of test rows",
        fontsize="medium",
    )
    figure: Any = ax.figure
    return figure


def _label(found: CodeUsage, number: int) -> str:
    information = f"{found.information[number]:.1f} nats"
    if found.usage.shape[1] == 2:
        return f"z[{number}]\n{information}"
    return f"z[{number}], perplexity {found.perplexity[number]:.1f}, {information}"


def _variables(found: CodeUsage) -> str:
    count, states = found.usage.shape
    return f"{count} variables of {states} states"


def _decode(shown: Shown, states: Any) -> Tensor:
    """Return E[x | z] at the codes of states, whole numbers of shape (n, D)."""
    numbers = torch.as_tensor(states)
    num_states = shown.model.latent_dim // numbers.shape[-1]  # 1 if z holds the numbers themselves
    z = numbers if num_states == 1 else one_hot(numbers, num_states)
    mean: Tensor = shown.model.decode(z.flatten(1).float(), *shown.context_of_first_row(len(numbers))).mean
    return mean
