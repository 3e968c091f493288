"""Runs of a program for many values of its latents at once."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pyro
import torch
from pyro import poutine
from torch import Tensor

from pyro_vae._checks import InputError, check
from pyro_vae._programs import local_parameters
from pyro_vae.objectives.sites import WithoutScales, data_plate, data_site, sample_sites

__all__ = ["rows_last", "simulate_rows", "vectorized_trace"]


def vectorized_trace(
    program: Callable[..., Any],
    data: tuple[Tensor, ...],
    num_samples: int,
    max_plate_nesting: int = 1,
    values: dict[str, Tensor] | None = None,
) -> Any:
    """Run a program for several values of its latents at once, without the scales of its sites.

    Args:
        program: A Pyro program.
        data: Arguments of the program.
        num_samples: Number of values.
        max_plate_nesting: Depth of nested plates in the program.
        values: Values of sites that are not sampled, each (num_samples, N, *event).
    """
    if values is not None:
        nested = (1,) * (max_plate_nesting - 1)
        placed = {name: v.reshape(len(v), *nested, *v.shape[1:]) for name, v in values.items()}
        program = poutine.condition(program, data=placed)
    program = WithoutScales()(program)
    # The plate is named by its dimension, so that runs can be nested.
    plate = pyro.plate(f"_samples_{max_plate_nesting}", num_samples, dim=-max_plate_nesting - 1)
    with local_parameters(), plate:
        return poutine.trace(program).get_trace(*data)


def rows_last(site: dict[str, Any]) -> Tensor:
    """Return a site's value, shape (num_samples, N, *event); raise if it is in another plate than `"data"`."""
    value: Tensor = site["value"]
    batch = value.shape[: value.ndim - site["fn"].event_dim]
    check(
        data_plate(site).dim == -1,
        f"Expected the plate 'data' at dimension -1, the last of a batch, to run the site {site['name']!r} on many "
        f"samples; it is at {data_plate(site).dim}. Write `pyro.plate('data', len(x), dim=-1)`, and place plates "
        "inside it further left.",
    )
    check(
        math.prod(batch[1:-1]) == 1,
        f"Expected the latent site {site['name']!r} in the plate 'data' alone; its batch shape for one row is "
        f"{tuple(batch[1:-1])}. Declare those dimensions as part of the event: `.to_event(...)`.",
    )
    return value.reshape(batch[0], batch[-1], *value.shape[len(batch) :])


def simulate_rows(
    model: Callable[..., Any], data: tuple[Tensor, ...], max_plate_nesting: int = 1
) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
    """Draw z from p(z) and x from p(x | z); `data` determines the number of rows and the labels.

    Args:
        model: A Pyro program with one observed site, which observes its first argument.
        data: Arguments of the model; the values of the first one are not used.
        max_plate_nesting: Depth of nested plates in the program.

    Returns:
        The data with drawn rows, and the values of their latent sites, (1, N, *event).

    Raises:
        InputError: If the model observes several sites, or a value whose shape is not that of the rows.
    """
    with torch.no_grad():
        trace = vectorized_trace(poutine.uncondition(model), data, 1, max_plate_nesting)
    try:
        observed = data_site(trace, data[0])
    except InputError as error:
        raise InputError(f"{error} Or set `num_simulated=0`.") from None
    latents = {site["name"]: rows_last(site) for site in sample_sites(trace) if site is not observed}
    x = observed["value"].reshape(data[0].shape).to(data[0].dtype)
    return (x, *data[1:]), latents
