"""Write the codes of rows under a trained run.

python scripts/encode.py runs/mnist-bernoulli-001 -o codes.csv
python scripts/encode.py runs/mnist-bernoulli-001 rows.npy -o codes.npy
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
    """Write mean and standard deviation of q(z | x) of each row: arrays (.npy, .sd.npy) or a table (.csv)."""

    run: Annotated[Path, tyro.conf.Positional]
    """Folder of a finished run."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """.npy for means, with NAME.sd.npy beside it; or .csv with numbers of rows, ids and classes too."""
    data: Annotated[Path | None, tyro.conf.Positional] = None
    """File or folder of rows, or name of a data set; the run's test rows where not given."""
    seed: int = 0
    """Of the draws by which moments without a formula are estimated."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto takes CUDA where there is one."""
    quiet: bool = False
    """Show no progress bar."""


def main() -> int:
    """Parse, encode, write."""
    arguments: Arguments = parse(Arguments)
    check_integer(arguments.seed, "--seed", minimum=0)

    from pyro_vae.experiment.uses.encode import encode_to

    with quiet(arguments.quiet):
        told = encode_to(
            arguments.run, arguments.data, arguments.out, seed=arguments.seed, device=arguments.device
        )
    print(told)
    return 0


if __name__ == "__main__":
    run_script(main)
