"""Denoise rows by a trained run.

python scripts/denoise.py runs/digits-denoising noisy.npy -o clean.npy
python scripts/denoise.py runs/digits-denoising -o clean.png --particles 64
"""

from pyro_vae._environment import limit_thread_spinning, run_script

limit_thread_spinning()

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from pyro_vae._checks import check_integer
from pyro_vae._command_line import parse
from pyro_vae.progress import quiet


@dataclass(frozen=True)
class Arguments:
    """Write the mean over particles z ~ q(z | x) of E[x | z] for noisy rows x, with its standard deviation."""

    run: Annotated[Path, tyro.conf.Positional]
    """Folder of a finished run; one with --corruption as a rule."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """What to write, by its ending: .npy, with standard deviations as NAME.sd.npy beside it, .csv, .png, or a folder of
    images."""
    data: Annotated[Path | None, tyro.conf.Positional] = None
    """File or folder of noisy rows, or name of a data set; the run's test rows, corrupted as in its training, where not
    given."""
    particles: int = 16
    """Draws of z for each row."""
    seed: int = 0
    """Of the draws."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto takes CUDA where there is one."""
    quiet: bool = False
    """Show no progress bar."""


def main() -> int:
    """Parse, denoise, write."""
    arguments: Arguments = parse(Arguments)
    check_integer(arguments.particles, "--particles", minimum=2)
    check_integer(arguments.seed, "--seed", minimum=0)

    from pyro_vae.experiment.uses.denoise import denoise_to

    with quiet(arguments.quiet):
        told = denoise_to(
            arguments.run,
            arguments.data,
            arguments.out,
            num_particles=arguments.particles,
            seed=arguments.seed,
            device=arguments.device,
        )
    print(told)
    return 0


if __name__ == "__main__":
    run_script(main)
