"""Write the codes of rows by a trained run.

pyro-vae encode runs/mnist-bernoulli-001 -o codes.csv
pyro-vae encode runs/mnist-bernoulli-001 rows.npy -o codes.npy
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from pyro_vae._command_line import parse
from pyro_vae.progress import quiet
from pyro_vae.settings.uses import RowsOptions


@dataclass(frozen=True, kw_only=True)
class Arguments(RowsOptions):
    """Write mean and standard deviation of q(z | x) of each row: arrays (.npy, .sd.npy) or a table (.csv)."""

    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """.npy for means, with NAME.sd.npy next to it; or .csv, also with row numbers, ids and classes."""
    seed: int = 0
    """Seed of the draws that estimate moments without a formula."""


def main() -> int:
    """Parse, encode, write."""
    arguments: Arguments = parse(Arguments)
    arguments.check()

    from pyro_vae.experiment.uses.encode import encode_to

    with quiet(arguments.quiet):
        summary = encode_to(
            arguments.run, arguments.data, arguments.out, seed=arguments.seed, device=arguments.device
        )
    print(summary)
    return 0
