"""Decode the path between the codes of two rows, or of two classes, under a trained run.

python scripts/interpolate.py runs/mnist-bernoulli-001 --rows 3 8 -o path.png
python scripts/interpolate.py runs/mnist-bernoulli-001 rows.npz --classes 3 8 --path circle -o path.png
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
    """Decode codes on the path between two rows or classes: .npy, .csv, .png or a folder of images."""

    run: Annotated[Path, tyro.conf.Positional]
    """Folder of a finished run with continuous latents."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """What to write, by its ending: .npy, .csv with the columns of the training file, .png, or a folder of images."""
    data: Annotated[Path | None, tyro.conf.Positional] = None
    """File or folder of rows, or name of a data set; the run's test rows where not given."""
    rows: tuple[int, int] | None = None
    """Numbers of the two rows, counted from 0."""
    classes: tuple[str, str] | None = None
    """Two classes, in place of rows: from the mean code of the one to that of the other."""
    path: Literal["line", "circle"] = "line"
    """A straight line, or a great circle, on which the norm of z goes evenly from one end's to the other's."""
    steps: int = 11
    """How many rows, both ends among them."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto takes CUDA where there is one."""
    quiet: bool = False
    """Show no progress bar."""


def main() -> int:
    """Parse, decode, write."""
    arguments: Arguments = parse(Arguments)
    check_integer(arguments.steps, "--steps", minimum=2)

    from pyro_vae.experiment.uses.interpolate import interpolate_to

    with quiet(arguments.quiet):
        told = interpolate_to(
            arguments.run,
            arguments.data,
            arguments.out,
            rows=arguments.rows,
            classes=arguments.classes,
            path=arguments.path,
            num_steps=arguments.steps,
            device=arguments.device,
        )
    print(told)
    return 0


if __name__ == "__main__":
    run_script(main)
