"""Decode the path between the codes of two rows, or of two classes, with a trained run.

pyro-vae interpolate runs/mnist-bernoulli-001 --rows 3 8 -o path.png
pyro-vae interpolate runs/mnist-bernoulli-001 rows.npz --classes 3 8 --path circle -o path.png
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pyro_vae._checks import check_integer
from pyro_vae._command_line import parse
from pyro_vae.progress import quiet
from pyro_vae.settings.uses import RowsOptions


@dataclass(frozen=True, kw_only=True)
class Arguments(RowsOptions):
    """Decode codes on the path between two rows or classes: .npy, .csv, .png or a folder of images."""

    rows: tuple[int, int] | None = None
    """Indices of the two rows, from 0."""
    classes: tuple[str, str] | None = None
    """Two classes, in place of rows; the path connects their mean codes."""
    path: Literal["line", "circle"] = "line"
    """A straight line, or a great circle, along which the norm of z changes linearly."""
    steps: int = 11
    """Number of rows, including both ends."""


def main() -> int:
    """Parse, decode, write."""
    arguments: Arguments = parse(Arguments)
    arguments.check()
    check_integer(arguments.steps, "--steps", minimum=2)

    from pyro_vae.experiment.uses.interpolate import interpolate_to

    with quiet(arguments.quiet):
        summary = interpolate_to(
            arguments.run,
            arguments.data,
            arguments.out,
            rows=arguments.rows,
            classes=arguments.classes,
            path=arguments.path,
            num_steps=arguments.steps,
            seed=arguments.seed,
            device=arguments.device,
        )
    print(summary)
    return 0
