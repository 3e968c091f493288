"""Draw new rows from a trained run.

pyro-vae generate runs/mnist-bernoulli-001 -n 100 -o samples.png
pyro-vae generate runs/titanic -n 1000 -o passengers.csv
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from pyro_vae._checks import check_integer
from pyro_vae._command_line import parse
from pyro_vae.progress import quiet
from pyro_vae.settings.uses import UseOptions


@dataclass(frozen=True, kw_only=True)
class Arguments(UseOptions):
    """Draw new rows: an array (.npy), a table (.csv), a picture (.png) or a folder of images."""

    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Output; the ending determines the format: .npy, .csv with the columns of the training file, .png, or a folder of
    images. Arrays and tables are in the units of the training file."""
    num_rows: Annotated[int, tyro.conf.arg(aliases=["-n"])] = 100
    """Number of rows; a picture shows at most 100."""
    class_name: Annotated[str | None, tyro.conf.arg(name="class")] = None
    """Name or number of the class, for a run with --context label; each class in turn if not given."""
    sample_from: Literal["prior", "mixture"] | None = None
    """Distribution of z; that of the run if not given."""
    values: Literal["auto", "draws", "means"] = "auto"
    """Draws x ~ p(x|z) or means E[x|z] of the same z; auto is means in pictures and draws in arrays and tables."""


def main() -> int:
    """Parse, draw, write."""
    arguments: Arguments = parse(Arguments)
    arguments.check()
    check_integer(arguments.num_rows, "-n")

    from pyro_vae.experiment.uses.generate import generate_to

    with quiet(arguments.quiet):
        summary = generate_to(
            arguments.run,
            arguments.out,
            arguments.num_rows,
            class_name=arguments.class_name,
            source=arguments.sample_from,
            values=arguments.values,
            seed=arguments.seed,
            device=arguments.device,
        )
    print(summary)
    return 0
