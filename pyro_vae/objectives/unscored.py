"""Rows that cannot be scored: detection, and placeholders for them while the others are scored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pyro_vae.objectives.draws import RowLogProbs
from pyro_vae.objectives.rows import ProgramError, row_log_probs

__all__ = ["failing_rows", "unscored", "unscored_message", "unscored_part", "with_placeholder_rows"]

SHOWN = 5
PARTICLES = 4
BLOCK = 1000


def failing_rows(run: Callable[..., Any], data: tuple[Tensor, ...]) -> Tensor:
    """Return a mask of the rows on which a run fails, shape (N,), by bisection.

    Raises:
        ProgramError: If it fails on all rows, because of an error in the programs.
    """
    failing = _failing_rows(run, data)
    if failing.all():
        run(*data)
    return failing


def _failing_rows(run: Callable[..., Any], data: tuple[Tensor, ...]) -> Tensor:
    num_rows = len(data[0])
    try:
        run(*data)
        return torch.zeros(num_rows, dtype=torch.bool)
    except ProgramError:
        if num_rows == 1:
            return torch.ones(1, dtype=torch.bool)
    middle = num_rows // 2
    halves = tuple(part[:middle] for part in data), tuple(part[middle:] for part in data)
    return torch.cat([_failing_rows(run, half) for half in halves])


def with_placeholder_rows(data: tuple[Tensor, ...], failing: Tensor) -> tuple[Tensor, ...]:
    """Return the data with the failing rows, a mask of shape (N,), replaced by the first other row.

    Other rows keep their indices, and thus their noise.
    """
    if not failing.any():
        return data
    index = torch.where(failing, (~failing).long().argmax(), torch.arange(len(failing)))
    return tuple(part[index.to(part.device)] for part in data)


@torch.no_grad()
def unscored(
    model: Callable[..., Any],
    guide: Callable[..., Any],
    data: tuple[Tensor, ...],
    max_plate_nesting: int = 1,
    num_particles: int = PARTICLES,
) -> Tensor:
    """Test with a few samples of z whether rows can be scored.

    Returns:
        Shape (N,), float64: 0 if the row can be scored, minus infinity if all densities p(x | z) are zero, else NaN.
    """

    def run(*rows: Tensor) -> RowLogProbs:
        return row_log_probs(
            model, guide, *rows, num_particles=num_particles, max_plate_nesting=max_plate_nesting
        )

    blocks = zip(*(part.split(BLOCK) for part in data), strict=True)
    return torch.cat([_tested(run, block) for block in blocks])


def _tested(run: Callable[..., RowLogProbs], block: tuple[Tensor, ...]) -> Tensor:
    failing = failing_rows(run, block)
    likelihood, prior, guide = (part.cpu() for part in run(*with_placeholder_rows(block, failing))[:3])
    result = torch.zeros(len(failing), dtype=torch.float64)
    unusable = [part.isnan() | (part == torch.inf) for part in (likelihood, prior, guide)]
    result[torch.stack(unusable).any(0).any(0)] = torch.nan
    result[(likelihood == -torch.inf).all(0)] = -torch.inf  # for any values of prior and guide
    result[failing] = torch.nan
    return result


def unscored_part(values: Tensor) -> str:
    """Return text on the number of values, shape (N,), that are not finite, and the mean of the others; "" if none."""
    finite = values[values.isfinite()]
    if len(finite) == len(values):
        return ""
    others = f", the mean of the others is {finite.mean():.2f}" if len(finite) else ""
    return f"; {len(values) - len(finite)} of {len(values)} rows could not be scored{others}"


def unscored_message(values: Tensor) -> str | None:
    """Return a sentence that lists the rows whose value, shape (N,), is not finite; None if there are none."""
    rows = (~values.isfinite()).nonzero().flatten().tolist()
    if not rows:
        return None
    shown = ", ".join(map(str, rows[:SHOWN])) + (", ..." if len(rows) > SHOWN else "")
    return (
        f"{len(rows)} of {len(values)} rows could not be scored and have NaN or minus infinity (from 0: {shown}); "
        "look for NaN and extreme values in them. `scored` is the estimate of the others."
    )
