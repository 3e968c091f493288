"""A check that the log-probabilities of a row depend only on that row and its z."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from pyro.infer.autoguide import AutoGuide
from torch import Tensor

from pyro_vae._checks import InputError, check
from pyro_vae._programs import local_parameters
from pyro_vae.objectives.changed_variables import check_changed_variables
from pyro_vae.objectives.draws import Draws, RowLogProbs
from pyro_vae.objectives.rows import ProgramError, draw
from pyro_vae.objectives.support_checks import check_covers_prior

__all__ = ["check_programs"]

ROWS, PARTICLES = 2, 3  # different, so that the dimensions cannot be confused
TOLERANCE = {torch.float64: 1e-7}
"""Tolerance of rounding, relative to 1 + |log-probability|; 1e-3 in other precisions."""


@torch.no_grad()
def check_programs(
    model: Callable[..., Any],
    guide: Callable[..., Any],
    *data: Tensor,
    num_particles: int = PARTICLES,
    max_plate_nesting: int = 1,
    importance: bool = False,
) -> None:
    """Raise if programs cannot be evaluated row by row; costs a few runs on two rows.

    The first row is scored together with another row and other particles, then together with copies of itself at the
    same z. Networks in training mode, and networks that treat particles as rows or rows as channels, give different
    numbers.

    Args:
        model: A Pyro program with all its sites in the plate `"data"`.
        guide: A Pyro program with the model's latent sites.
        data: Arguments of both programs, rows first.
        num_particles: Samples of z per row that the estimate draws at once.
        max_plate_nesting: Depth of nested plates in the programs.
        importance: Whether the guide must cover the prior's support.

    Raises:
        InputError: If a log-probability differs, or as for `draw`.
    """
    if isinstance(guide, AutoGuide) or len({len(part) for part in data}) != 1:
        return
    particles, few = min(num_particles, PARTICLES), _two_rows(data)
    devices = sorted({part.device.index or 0 for part in data if part.is_cuda})
    with torch.random.fork_rng(devices=devices), local_parameters():
        for rows in (few, data):
            try:
                draws = draw(
                    model, guide, *rows, num_particles=particles, max_plate_nesting=max_plate_nesting
                )
                found = _both_ways(draws)
            except ProgramError:
                continue  # a program may need all rows at once, or fail on one of them
            except InputError:
                if rows is few:
                    continue
                raise
            check_changed_variables(guide, *rows)
            if importance:
                check_covers_prior(draws.model_sites, draws.guide_sites)
            _compare(*found)
            return


def _two_rows(data: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Return two rows, finite ones if possible."""
    finite = torch.stack([part.flatten(1).isfinite().all(1) for part in map(_as_matrix, data)]).all(0)
    order = finite.long().argsort(descending=True, stable=True)[:ROWS]
    return tuple(part[order] for part in data)


def _as_matrix(part: Tensor) -> Tensor:
    return part if part.ndim > 1 else part.unsqueeze(1)


def _both_ways(draws: Draws) -> tuple[RowLogProbs, RowLogProbs, RowLogProbs]:
    """Return the first row's log-probabilities with other rows, in two runs, and with copies of itself."""
    nesting = -draws.particle_dim - 1

    def at(values: dict[str, Tensor], data: tuple[Tensor, ...], num_particles: int) -> RowLogProbs:
        return draw(
            draws.model, draws.guide, *data,
            num_particles=num_particles, max_plate_nesting=nesting, values=values,
        ).reported  # fmt: skip

    # Copies, so that distributions that cache the noise of a sample score it like any value.
    same = {name: value.clone() for name, value in draws.samples.items()}
    copies = {site["name"]: draws.first(site) for site in draws.guide_sites}
    first_row = tuple(part[:1].expand_as(part).contiguous() for part in draws.data)
    together, again = (at(same, draws.data, draws.num_particles) for _ in range(2))
    return together, again, at(copies, first_row, 1)


def _compare(together: RowLogProbs, again: RowLogProbs, copied: RowLogProbs) -> None:
    names = ("log p(x | z)", "log p(z)", "log q(z | x)")
    for name, *found in zip(names, together, again, copied, strict=False):
        first, second, third = (float(part[0, 0]) for part in found)
        tolerance = TOLERANCE.get(found[0].dtype, 1e-3) * (1 + abs(first))
        check(
            not abs(first - second) > tolerance,
            f"Expected the same {name} of a row at the same z in every run; got {first:.6g} and {second:.6g}. "
            "A network in the program is random: call `.eval()` on it, or make the program a module that holds it.",
        )
        check(
            not abs(second - third) > tolerance,
            f"Expected {name} of a row to depend on that row and its z alone; with other rows and particles it is "
            f"{second:.6g}, with copies of itself {third:.6g}. A network mixes rows or particles: call `.eval()` on "
            "one with batch statistics, and join leading dimensions (`z.flatten(0, -2)`) before one that takes the "
            "first dimension for rows and the second for channels.",
        )
