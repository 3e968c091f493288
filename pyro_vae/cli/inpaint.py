"""Hide a part of images and fill it in with a trained run.

pyro-vae inpaint runs/mnist-bernoulli-001 --hide left -o inpainted.png
pyro-vae inpaint runs/mnist-bernoulli-001 rows.npy --hide mask.npy -o inpainted.npy --draws 5
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from pyro_vae._checks import check_integer
from pyro_vae._command_line import parse
from pyro_vae.progress import quiet
from pyro_vae.settings.uses import RowsOptions


@dataclass(frozen=True, kw_only=True)
class Arguments(RowsOptions):
    """Fill in hidden pixels by the mean of p(hidden | visible), by importance resampling from fitted proposals."""

    run: Annotated[Path, tyro.conf.Positional]
    """Folder of a finished run on images, with continuous latents."""
    hide: str
    """left, right, top or bottom; or a .npy array of an image's height and width, nonzero at hidden pixels."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Output; the ending determines the format: .npy, with standard deviations, draws and effective samples next to it,
    .csv, .png, or a folder of images."""
    data: Annotated[Path | None, tyro.conf.Positional] = None
    """File or folder of images, or name of a data set; the run's test rows if not given."""
    num_rows: int | None = None
    """Number of evenly spaced rows; all if not given, ten in a picture."""
    num_samples: int = 1000
    """Samples of z for each row."""
    draws: int = 0
    """Number of completed images to draw for each row; a picture shows four if 0."""


def main() -> int:
    """Parse, fill in, write."""
    arguments: Arguments = parse(Arguments)
    arguments.check()
    if arguments.num_rows is not None:
        check_integer(arguments.num_rows, "--num-rows")
    check_integer(arguments.num_samples, "--num-samples", minimum=2)
    check_integer(arguments.draws, "--draws", minimum=0)

    from pyro_vae.experiment.uses.inpaint import inpaint_to

    with quiet(arguments.quiet):
        summary = inpaint_to(
            arguments.run,
            arguments.data,
            arguments.out,
            arguments.hide,
            num_rows=arguments.num_rows,
            num_samples=arguments.num_samples,
            num_draws=arguments.draws,
            seed=arguments.seed,
            device=arguments.device,
        )
    print(summary)
    return 0
