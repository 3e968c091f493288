"""Denoise rows with a trained run.

pyro-vae denoise runs/digits-denoising noisy.npy -o clean.npy
pyro-vae denoise runs/digits-denoising -o clean.png --particles 64
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
    """Write the mean over particles z ~ q(z | x) of E[x | z] for noisy rows x, with its standard deviation."""

    run: Annotated[Path, tyro.conf.Positional]
    """Folder of a finished run, usually one with --corrupt."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Output; the ending determines the format: .npy, with standard deviations as NAME.sd.npy next to it, .csv, .png,
    or a folder of images."""
    data: Annotated[Path | None, tyro.conf.Positional] = None
    """File or folder of noisy rows, or name of a data set; the run's test rows, corrupted as in its training, if not
    given."""
    particles: int = 16
    """Draws of z for each row."""


def main() -> int:
    """Parse, denoise, write."""
    arguments: Arguments = parse(Arguments)
    arguments.check()
    check_integer(arguments.particles, "--particles", minimum=2)

    from pyro_vae.experiment.uses.denoise import denoise_to

    with quiet(arguments.quiet):
        summary = denoise_to(
            arguments.run,
            arguments.data,
            arguments.out,
            num_particles=arguments.particles,
            seed=arguments.seed,
            device=arguments.device,
        )
    print(summary)
    return 0
