"""One training step, and the time until the first ones are done."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks._contenders import Contender, Process, ceilings, compared, processes, spread
from benchmarks._names import ByName
from benchmarks._report import InRounds, machine, markdown, write
from benchmarks.networks import NETWORKS, flops

CONTENDERS = ByName(
    {
        "ours": Contender("pyro_vae, compiled", "ours", ("compile",)),
        "bf16": Contender("pyro_vae, compiled, bf16", "ours", ("compile", "bf16")),
        "plain": Contender("pyro_vae, Pyro's handlers", "ours"),
        "pytorch": Contender("PyTorch by hand", "pytorch"),
        "pytorch-compiled": Contender("PyTorch by hand, torch.compile", "pytorch", ("compile",)),
        "pyro": Contender("Pyro, SVI.step", "pyro_stock"),
        "pyro-jit": Contender("Pyro, JitTrace_ELBO", "pyro_stock", ("jit",)),
        "numpyro": Contender("NumPyro, jitted update", "numpyro_svi", (), "numpyro"),
    }
)
PUBLISHED = ("784-400-20", "784-200-200-50", "784-1000-1000-50")


@dataclass(frozen=True)
class Step(InRounds):
    """One training step: medians over rounds in which the contenders take turns."""

    networks: tuple[str, ...] = PUBLISHED
    """Of 784-400-20, 784-200-200-50, 784-1000-1000-50, tiny."""
    contenders: tuple[str, ...] = tuple(CONTENDERS)
    """The first is what the others are compared with."""
    seconds: float = 0.5
    """Of a turn."""

    def run(self) -> None:
        """Time, print, write."""
        chosen = [CONTENDERS[name] for name in self.contenders]
        for name, network in [(name, NETWORKS[name]) for name in self.networks]:
            with processes(chosen, network, self) as running:
                for _ in range(self.rounds):
                    for process in running:
                        process.round(self.seconds)
            self._report(name, running)

    def _report(self, name: str, running: list[Process]) -> None:
        limits = ceilings(self.threads)
        work = 1e-9 * flops(*NETWORKS[name])
        told = (
            f"{name}, batch {NETWORKS[name][-1]}, {self.rounds} rounds; {machine(self.threads)}, {self.clock} time\n\n"
            f"{compared('one step', running)}\n\n{work:.2f} GFLOP of matrix products a step; ceilings: "
            + ", ".join(f"{value:.0f} ({what})" for what, value in limits.items())
        )
        figures = {process.label: process.times for process in running}
        write(self.out, f"step-{name}", told, {"seconds": figures, "ceilings": limits, "gflop": work})


@dataclass(frozen=True)
class Startup(InRounds):
    """From the start of a contender's work to the end of its third step: imports excluded, compiling included.

    Nothing that was compiled before is there.
    """

    network: str = "784-400-20"
    """As for `step`."""
    contenders: tuple[str, ...] = tuple(CONTENDERS)
    """As for `step`."""

    def run(self) -> None:
        """Time, print, write."""
        chosen = {name: CONTENDERS[name] for name in self.contenders}
        times: dict[str, list[float]] = {name: [] for name in chosen}
        for _ in range(self.rounds):
            for name, contender in chosen.items():
                with (
                    tempfile.TemporaryDirectory() as cache,
                    processes([contender], NETWORKS[self.network], self, Path(cache)) as (process,),
                ):
                    times[name].append(process.seconds_to_build)
        rows = [[chosen[name].label, *spread(seconds, 1).values()] for name, seconds in times.items()]
        told = (
            f"start-up, {self.network}, {self.rounds} rounds; {machine(self.threads)}, {self.clock} time\n\n"
        )
        told += markdown(["until the third step", "s", "min", "max"], rows)
        write(self.out, "startup", told, {"seconds": times})
