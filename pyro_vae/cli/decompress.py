"""Restore rows from a file of `pyro-vae compress`.

pyro-vae decompress runs/mnist-bernoulli-001 rows.bits -o rows_again.npy
pyro-vae decompress runs/counts-categorical-001 counts.bits -o counts_again.csv
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from pyro_vae._command_line import parse
from pyro_vae.progress import quiet


@dataclass(frozen=True)
class Arguments:
    """Restore the rows of a compressed file bit for bit."""

    run: Annotated[Path, tyro.conf.Positional]
    """Folder of the run that compressed them."""
    file: Annotated[Path, tyro.conf.Positional]
    """File written by `pyro-vae compress`."""
    out: Annotated[Path | None, tyro.conf.arg(aliases=("-o",))] = None
    """Output file: .npy, or .csv or .amat if a file of this kind was compressed. Default: rows.csv or rows.amat in that
    case, otherwise rows.npy."""
    quiet: bool = False
    """Show no progress bar."""


def main() -> int:
    """Parse, decompress, print the shape."""
    arguments: Arguments = parse(Arguments)
    from pyro_vae.experiment.compress import decompress_rows, default_output

    file = arguments.file.expanduser()
    out = arguments.out.expanduser() if arguments.out else default_output(file)
    with quiet(arguments.quiet):
        shape = decompress_rows(arguments.run.expanduser(), file, out)
    print(f"rows of shape {shape} in {out}")
    return 0
