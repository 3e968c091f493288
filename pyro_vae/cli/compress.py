"""Compress rows losslessly with a trained run, by bits-back coding.

pyro-vae compress runs/mnist-bernoulli-001 rows.npy -o rows.bits
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
    """Compress rows losslessly with a run that has a discrete likelihood, a diagonal guide and a normal prior."""

    run: Annotated[Path, tyro.conf.Positional]
    """Folder of a finished run."""
    data: Annotated[Path | None, tyro.conf.Positional] = None
    """File or folder of rows; the run's test rows, preprocessed for its likelihood, if not given."""
    out: Annotated[Path, tyro.conf.arg(aliases=("-o",))] = Path("rows.bits")
    """File to write."""
    quiet: bool = False
    """Show no progress bar."""


def main() -> int:
    """Parse, compress, print the rates."""
    arguments: Arguments = parse(Arguments)
    from pyro_vae.experiment.compress import compress_rows

    out = arguments.out.expanduser()
    with quiet(arguments.quiet):
        compressed = compress_rows(arguments.run.expanduser(), arguments.data, out)
    print(compressed.table())
    print(f"{compressed.num_rows} rows of {compressed.data_dim} in {out}, {compressed.num_bytes} bytes")
    print(compressed.restored)
    return 0
