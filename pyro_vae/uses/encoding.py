"""Codes of rows: mean and standard deviation of q(z | x)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pyro_vae._checks import check, check_integer
from pyro_vae._context import accepted_context
from pyro_vae._inputs import entry_for
from pyro_vae._programs import evaluation_mode
from pyro_vae.evaluate._streaming import without_side_effects
from pyro_vae.objectives.supports import is_point_mass
from pyro_vae.progress import progress_bar

__all__ = ["Codes", "encode_rows"]

ROWS, DRAWS = 500, 100
"""Maximum number of rows encoded together, and of draws of their codes made together."""


@dataclass(frozen=True)
class Codes:
    """Codes of N rows.

    Attributes:
        mean: E[z | x] under q, shape (N, size of z): several layers are concatenated, each layer's mean given the
            means of the layers drawn before it; for discrete variables the probability of each state.
        sd: Standard deviations under q, same shape; None for an autoencoder.
        names: Column names: site name and index, such as "z_0", "z2_5".
        drawn: Whether moments were estimated from draws because the family has no formula.
    """

    mean: Tensor
    sd: Tensor | None
    names: tuple[str, ...]
    drawn: bool = False


def encode_rows(
    model: Callable[..., Any],
    guide: Any,
    x: Any,
    *,
    num_samples: int = 1000,
    seed: int = 0,
    progress: bool = False,
) -> Codes:
    """Return mean and standard deviation of q(z | x) of each row, in blocks.

    Moments without a formula, such as standard deviations of several layers, are estimated from draws: 1000 draws give
    a standard deviation to 2 %. Modules are in evaluation mode during the call.

    Args:
        model: The generative program, which defines the context.
        guide: A guide with `encode(x, *context)`, such as `AmortizedGuide`.
        x: Rows in any container that `fit` takes, in data units; with context in a tuple.
        num_samples: Draws for each row if there is no formula, at least 2.
        seed: Seed of the draws; the global random state is restored.
        progress: Whether to show a progress bar.

    Raises:
        InputError: If a number is out of range, or the guide has no `encode`.
    """
    check_integer(num_samples, "num_samples", minimum=2)
    check_integer(seed, "seed", minimum=0)
    check(hasattr(guide, "encode"), f"Expected a guide with `encode`; {type(guide).__name__} has none.")
    data = entry_for(model, guide).rows(x)
    parts: list[Codes] = []
    bar = progress_bar(len(data[0]), "rows", "encoding", shown=progress)
    with without_side_effects(data), evaluation_mode(model, guide), bar:
        torch.manual_seed(seed)
        for start in range(0, len(data[0]), ROWS):
            block, *context = (part[start : start + ROWS] for part in data)
            parts.append(
                _codes(guide.encode(block, *accepted_context(guide.encode, tuple(context))), num_samples)
            )
            bar.update(len(block))
    sds = [part.sd for part in parts if part.sd is not None]
    mean = torch.cat([part.mean for part in parts])
    return Codes(mean, torch.cat(sds) if sds else None, parts[0].names, parts[0].drawn)


def _codes(posterior: Any, num_samples: int) -> Codes:
    sizes = getattr(posterior, "sizes", None) or {"z": posterior.event_shape.numel()}
    names = tuple(f"{site}_{place}" for site, size in sizes.items() for place in range(size))
    if is_point_mass(posterior):
        return Codes(posterior.mean, None, names)
    mean, sd = _formula(posterior, "mean"), _formula(posterior, "stddev")
    if mean is not None and sd is not None:
        return Codes(mean, sd, names)
    own_mean, own_sd = _moments(posterior, num_samples)
    return Codes(own_mean if mean is None else mean, own_sd if sd is None else sd, names, drawn=True)


def _formula(posterior: Any, name: str) -> Tensor | None:
    try:
        value: Tensor = getattr(posterior, name)
    except NotImplementedError:
        return None
    return value


def _moments(posterior: Any, num_samples: int) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of draws, relative to the first draw to avoid cancellation."""
    first = posterior.sample()
    total, squares = torch.zeros(2, *first.shape, dtype=torch.float64, device=first.device)
    for size in _sizes(num_samples):
        shifts = posterior.sample((size,)).double() - first
        total += shifts.sum(0)
        squares += shifts.square().sum(0)
    shift = total / num_samples
    variance = (squares / num_samples - shift.square()).clamp_min(0) * num_samples / (num_samples - 1)
    return (first + shift).to(first.dtype), variance.sqrt().to(first.dtype)


def _sizes(num_samples: int) -> Iterator[int]:
    for done in range(0, num_samples, DRAWS):
        yield min(DRAWS, num_samples - done)
