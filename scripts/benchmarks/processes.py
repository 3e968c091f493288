"""A training step shared by several processes, compared with one process alone."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks._contenders import environment
from benchmarks._report import InRounds, machine, markdown, ranged, write
from benchmarks.networks import NETWORKS, flops


@dataclass(frozen=True)
class Processes(InRounds):
    """Steps of several processes and of one alone, with the same threads per process, in turns.

    `--clock cpu` counts the processor time of the first process: a step on a core of its own, without waiting.
    """

    network: str = "784-1000-1000-50"
    """Network, see `step`."""
    batch_sizes: tuple[int, ...] = (256, 1024, 4096)
    """Number of rows per step, of all processes together."""
    num_processes: int = 2
    """Number of processes, on this machine."""
    threads: int = 1
    """Number of threads of each process."""
    seconds: float = 1.0
    """Seconds of a turn."""

    def run(self) -> None:
        """Time, print and write."""
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "found.json"
            launcher = ["torch.distributed.run", "--standalone", "--nproc-per-node", str(self.num_processes)]
            job = {"network": NETWORKS[self.network], "rounds": self.rounds, "seconds": self.seconds}
            words = [json.dumps(job | {"batch_sizes": self.batch_sizes, "out": str(out)})]
            command = [sys.executable, "-m", *launcher, "--module", "benchmarks.processes_worker", *words]
            subprocess.run(command, check=True, env=environment(self.threads, self.clock))
            found = json.loads(out.read_text())
        rows = []
        for batch in found["batches"]:
            ratios = [alone / shared for alone, shared in zip(batch["alone"], batch["together"], strict=True)]
            times = [ranged([1e3 * t for t in batch[kind]]) for kind in ("alone", "together")]
            work = 1e-9 * flops(NETWORKS[self.network]._replace(batch_size=batch["rows"]))
            rows.append([str(batch["rows"]), f"{work:.3g}", *times, ranged(ratios)])
        header = ["rows", "GFLOP", "one, ms", f"{self.num_processes}, ms", "times as fast"]
        sums = ranged([1e3 * seconds for seconds in found["sums"]])
        text = (
            f"{self.network}, {self.rounds} rounds; {machine(self)} to a process, {self.clock} time\n\n"
            f"{markdown(header, rows)}\n\n"
            f"{found['parameters']} parameters; one sum of all gradients, {4e-6 * found['parameters']:.1f} MB, takes "
            f"{sums} ms"
        )
        write(self.out, "processes", text, found | {"tables": {"": [header, *rows]}})
