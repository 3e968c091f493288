"""Fill in the missing cells of a table with a trained run.

pyro-vae impute runs/titanic titanic.csv -o titanic_complete.csv
pyro-vae impute runs/titanic titanic.csv -o titanic_complete.csv --draws 5
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from pyro_vae._checks import check, check_integer
from pyro_vae._command_line import parse
from pyro_vae.progress import quiet


@dataclass(frozen=True)
class Arguments:
    """Write the completed table in the format of the given table, with observed cells unchanged."""

    run: Annotated[Path, tyro.conf.Positional]
    """Folder of a finished run; one with --likelihood table takes missing cells."""
    data: Annotated[Path, tyro.conf.Positional]
    """Table with missing cells (text, Parquet or Excel), of the columns that the run was trained on."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """The completed table. Statistics of each imputed cell are written next to it, as NAME.cells.csv."""
    draws: int = 0
    """Number of additional tables with missing cells drawn given the observed ones, NAME.draw1 and so on."""
    num_samples: int = 10_000
    """Samples of z for each row."""
    seed: int = 0
    """Seed of the noise."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto uses CUDA if it is available."""
    quiet: bool = False
    """Show no progress bars."""


def main() -> int:
    """Parse, impute, write."""
    arguments: Arguments = parse(Arguments)
    with quiet(arguments.quiet):
        return complete(arguments)


def complete(arguments: Arguments) -> int:
    """Impute, write the tables, print a summary, return the exit status."""
    check_integer(arguments.draws, "--draws", minimum=0)
    check_integer(arguments.num_samples, "--num-samples", minimum=2)
    check_integer(arguments.seed, "--seed", minimum=0)
    check(
        arguments.out.resolve() != arguments.data.resolve(),
        f"Expected another file for -o than the table itself, {arguments.data}.",
    )

    from pyro_vae.experiment.impute_table import impute_table

    print(
        impute_table(
            arguments.run,
            arguments.data,
            arguments.out,
            num_draws=arguments.draws,
            num_samples=arguments.num_samples,
            seed=arguments.seed,
            device=arguments.device,
        )
    )
    return 0
