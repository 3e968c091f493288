"""Bring back rows that `pyro-vae compress` compressed.

pyro-vae decompress runs/mnist-bernoulli-001 rows.bits -o rows_again.npy
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
    """Write the rows of a compressed file as a .npy array, as they were, bit for bit."""

    run: Annotated[Path, tyro.conf.Positional]
    """Folder of the run that they were compressed under."""
    file: Annotated[Path, tyro.conf.Positional]
    """What `pyro-vae compress` wrote."""
    out: Annotated[Path, tyro.conf.arg(aliases=("-o",))] = Path("rows.npy")
    """The .npy file to write."""
    quiet: bool = False
    """Show no progress bar."""


def main() -> int:
    """Parse, decompress, print the shape."""
    arguments: Arguments = parse(Arguments)
    from pyro_vae.experiment.compress import decompress_rows

    out = arguments.out.expanduser()
    with quiet(arguments.quiet):
        shape = decompress_rows(arguments.run.expanduser(), arguments.file.expanduser(), out)
    print(f"rows of shape {shape} in {out}")
    return 0
