"""Time what this library does beside its peers, each in a process of its own, in turns, and print a table.

python scripts/benchmark.py step
python scripts/benchmark.py baselines --rounds 7
"""

from __future__ import annotations

from _clone import find_package

find_package()

import sys
from pathlib import Path
from typing import Union

from pyro_vae._command_line import parse
from pyro_vae._environment import run_script

sys.path.insert(0, str(Path(__file__).parent))  # also where the script is run from elsewhere

from benchmarks._report import Options
from benchmarks.baselines import Baselines
from benchmarks.detection import Detection
from benchmarks.epoch import Epoch
from benchmarks.imputation import Imputation
from benchmarks.inpainting import Inpainting
from benchmarks.levels import Levels
from benchmarks.likelihood import Likelihood
from benchmarks.neighbour import Neighbour
from benchmarks.novelty import Novelty
from benchmarks.processes import Processes
from benchmarks.quality import Quality
from benchmarks.step import Startup, Step

BENCHMARKS: tuple[type[Options], ...] = (
    Step,
    Neighbour,
    Startup,
    Epoch,
    Baselines,
    Likelihood,
    Processes,
    Quality,
    Imputation,
    Levels,
    Detection,
    Inpainting,
    Novelty,
)
"""The subcommands, each under its name in lower case."""


def main() -> int:
    """Run the benchmark that the command line names."""
    benchmark = parse(Union[BENCHMARKS], prefixes=True)  # noqa: UP007 (the union of a tuple)
    benchmark.run()
    return 0


if __name__ == "__main__":
    run_script(main)
