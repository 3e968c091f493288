"""A training step while another process keeps a core busy."""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from benchmarks import step
from benchmarks._contenders import Process, processes
from benchmarks._names import ByName
from benchmarks._report import InRounds, machine, markdown, ranged, write
from benchmarks.networks import NETWORKS

OURS = step.CONTENDERS["ours"]
CONTENDERS = ByName(
    step.CONTENDERS
    | {
        "spinning": replace(
            OURS, label="pyro_vae, compiled, default spinning", words=(*OURS.words, "spinning")
        )
    }
)


@dataclass(frozen=True)
class Neighbour(InRounds):
    """One training step, alone and while another process keeps a core busy; both in each round.

    Threads wait as is the default of each contender; ours also with OpenMP's default ("spinning").
    """

    network: str = "784-400-20"
    """Network, see `step`."""
    contenders: tuple[str, ...] = ("ours", "spinning", "pytorch", "pytorch-compiled", "pyro", "numpyro")
    """Contenders, see `step`; also spinning."""
    seconds: float = 1.0
    """Seconds of a turn."""

    def run(self) -> None:
        """Time, print and write."""
        chosen = [CONTENDERS[name] for name in self.contenders]
        quiet: dict[str, list[float]] = {contender.label: [] for contender in chosen}
        busy: dict[str, list[float]] = {contender.label: [] for contender in chosen}
        with processes(chosen, NETWORKS[self.network], self) as running:
            for _ in range(self.rounds):
                self._turns(running, quiet)
                with busy_process():
                    self._turns(running, busy)
        rows = [
            [
                label,
                ranged([1e3 * seconds for seconds in times]),
                ranged([1e3 * seconds for seconds in busy[label]]),
                f"{statistics.median(busy[label]) / statistics.median(times):.2f}",
            ]
            for label, times in quiet.items()
        ]
        header = ["one step", "quiet, ms", "busy neighbour, ms", "ratio of medians"]
        text = f"{self.network}, {self.rounds} rounds; {machine(self)}\n\n{markdown(header, rows)}"
        write(self.out, "neighbour", text, {"quiet": quiet, "busy": busy, "tables": {"": [header, *rows]}})

    def _turns(self, running: list[Process], times: dict[str, list[float]]) -> None:
        for process in running:
            times[process.label].append(process.measured(self.seconds))


@contextmanager
def busy_process() -> Iterator[None]:
    """Keep one core busy."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()
