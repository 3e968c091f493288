"""Compress rows losslessly under a trained run, by bits-back coding.

python scripts/compress.py runs/mnist-bernoulli-001 rows.npy -o rows.bits
python scripts/decompress.py runs/mnist-bernoulli-001 rows.bits -o rows_again.npy
"""

from pyro_vae._environment import limit_thread_spinning, run_script

limit_thread_spinning()

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from pyro_vae._command_line import parse
from pyro_vae.progress import quiet


@dataclass(frozen=True)
class Arguments:
    """Compress rows losslessly under a run of a discrete likelihood, a diagonal guide and a normal prior."""

    run: Annotated[Path, tyro.conf.Positional]
    """Folder of a finished run."""
    data: Annotated[Path | None, tyro.conf.Positional] = None
    """File or folder of rows; the run's test rows, as its likelihood sees them, where not given."""
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
    return 0


if __name__ == "__main__":
    run_script(main)
