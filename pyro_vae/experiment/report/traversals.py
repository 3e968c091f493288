"""Latent traversals for the slider of a report."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from pyro_vae.evaluate.codes import code_usage, state_probs
from pyro_vae.experiment.code_figures import has_codes
from pyro_vae.experiment.layer_figures import decode_layer, split_layers
from pyro_vae.experiment.shown import Shown
from pyro_vae.models.hierarchical import HierarchicalModel

__all__ = ["Traversal", "traversals"]

DIMENSIONS, STEPS = 10, 15
"""Maximum number of dimensions, and steps of each."""
MOST_STATES = 20


@dataclass(frozen=True)
class Traversal:
    """A traversal of one dimension, with the others at the code of the first test row.

    Args:
        name: Name of the dimension and a measure of its use.
        places: Value of the dimension at each step, as text.
        own: The step nearest to the row's code.
        means: E[x | z] at each step, shape (number of steps, D).
    """

    name: str
    places: list[str]
    own: int
    means: Tensor


def traversals(shown: Shown) -> Iterator[Traversal]:
    """Yield traversals of the most used dimensions, in decreasing order of use."""
    if has_codes(shown.guide):
        yield from _of_codes(shown)
    elif isinstance(shown.model, HierarchicalModel):
        codes, means = split_layers(shown, shown.codes), split_layers(shown, shown.means)
        for number, layer in enumerate(codes, 1):
            use = means[layer].var(0, correction=0)
            yield from _along(
                layer,
                [f"variance of means {float(one):.2f}" for one in use],
                use,
                means[layer][0],
                codes[layer],
                lambda z, number=number: decode_layer(shown, number, z),
                max(1, DIMENSIONS // len(codes)),
            )
    else:
        use, words = shown.means.var(0, correction=0), "variance of means {:.2f}"
        if shown.error is None and shown.kl is not None:
            use, words = shown.kl, "KL {:.2f} nats"
        labels = [words.format(float(one)) for one in use]
        yield from _along(
            "z", labels, use, shown.means[0], shown.codes, lambda z: _decoded(shown, z), DIMENSIONS
        )


def _along(
    site: str, labels: list[str], use: Tensor, start: Tensor, codes: Tensor, decode: Any, count: int
) -> Iterator[Traversal]:
    """Yield dimensions from the 1 % to the 99 % quantile of the codes."""
    for d in use.argsort(descending=True, stable=True)[:count].tolist():
        low, high = np.quantile(codes[:, d].double().cpu().numpy(), [0.01, 0.99])
        along = torch.linspace(float(low), float(high), STEPS)
        z = start.repeat(STEPS, 1)
        z[:, d] = along.to(z)
        own = int((along - float(start[d])).abs().argmin())
        yield Traversal(
            f"{site}[{d}], {labels[d]}", [f"{place:.2f}" for place in along.tolist()], own, decode(z).cpu()
        )


def _of_codes(shown: Shown) -> Iterator[Traversal]:
    """Yield the most informative variables of a discrete code, through their states."""
    found = code_usage(shown.guide, shown.x, *shown.rows.context)
    q = shown.guide.encode(shown.x[:1], *shown.context_of_first_row(1))
    code = state_probs(q)[0].argmax(-1)
    states = min(found.usage.shape[1], MOST_STATES)
    for d in found.information.argsort(descending=True, stable=True)[:DIMENSIONS].tolist():
        numbers = code.repeat(states, 1)
        numbers[:, d] = torch.arange(states)
        many = shown.model.latent_dim // numbers.shape[-1]  # 1 if z contains the state indices
        z = numbers if many == 1 else one_hot(numbers, many).flatten(1)
        places = [f"state {state}, {found.usage[d, state]:.0%} of rows" for state in range(states)]
        name = f"z[{d}], {float(found.information[d]):.2f} nats"
        yield Traversal(name, places, min(int(code[d]), states - 1), _decoded(shown, z.float()).cpu())


def _decoded(shown: Shown, z: Tensor) -> Tensor:
    mean: Tensor = shown.model.decode(z, *shown.context_of_first_row(len(z))).mean
    return mean
