"""One training step, and the time until the first one is done."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

from benchmarks._contenders import CONTENDERS, Process, ceilings, processes, spread
from benchmarks._report import Options, machine, markdown, write

NETWORKS = {
    "784-400-20": (784, [400], 20, 128),
    "784-200-200-50": (784, [200, 200], 50, 100),
    "784-1000-1000-50": (784, [1000, 1000], 50, 256),
    "tiny": (10, [8], 2, 16),
}
"""Networks by name: columns, hidden widths, size of z, batch size."""
PUBLISHED = ("784-400-20", "784-200-200-50", "784-1000-1000-50")


@dataclass(frozen=True)
class Step(Options):
    """One training step: medians over rounds in which the contenders take turns."""

    networks: tuple[str, ...] = PUBLISHED
    """Of 784-400-20, 784-200-200-50, 784-1000-1000-50, tiny."""
    contenders: tuple[str, ...] = tuple(name for name in CONTENDERS if name != "bf16")
    """The first is what the others are compared with."""
    seconds: float = 0.5
    """Of a turn."""

    def run(self) -> None:
        """Time, print, write."""
        for name in self.networks:
            with processes(self.contenders, NETWORKS[name], self) as running:
                for _ in range(self.rounds):
                    for process in running.values():
                        process.round(self.seconds)
            self._report(name, running)

    def _report(self, name: str, running: dict[str, Process]) -> None:
        limits = ceilings(self.threads)
        first = next(iter(running.values()))
        work = 1e-9 * flops(*NETWORKS[name])
        rows = []
        for process in running.values():
            ratios = [other / own for other, own in zip(process.times, first.times, strict=True)]
            figures, ratio = spread(process.times), spread(ratios, 1)
            rows.append([process.label, *figures.values(), *ratio.values(), work / figures["median"] * 1e3])
        header = ["one step", "ms", "min", "max", "ratio", "min", "max", "GFLOP/s of products"]
        told = (
            f"{name}, batch {NETWORKS[name][-1]}, {self.rounds} rounds; {machine(self.threads)}, {self.clock} time\n\n"
            f"{markdown(header, rows)}\n\nceilings: "
            + ", ".join(f"{value:.0f} ({what})" for what, value in limits.items())
        )
        values: dict[str, Any] = {name: process.times for name, process in running.items()}
        write(self.out, f"step-{name}", told, {"seconds": values, "ceilings": limits, "gflop": work})


def flops(data_dim: int, hidden: list[int], latent_dim: int, batch_size: int) -> float:
    """Return the operations of a step's matrix products: forwards, and twice backwards but for the first layer."""
    encoder = [data_dim, *hidden, 2 * latent_dim]
    decoder = [latent_dim, *reversed(hidden), data_dim]
    sizes = [a * b for widths in (encoder, decoder) for a, b in itertools.pairwise(widths)]
    return 2 * batch_size * (3 * sum(sizes) - sizes[0])


@dataclass(frozen=True)
class Startup(Options):
    """From the start of the process's work to the end of its third step: imports excluded, compiling included."""

    network: str = "784-400-20"
    """As for `step`."""
    contenders: tuple[str, ...] = (
        "ours",
        "plain",
        "pytorch",
        "pytorch-compiled",
        "pyro",
        "pyro-jit",
        "numpyro",
    )
    """The first is what the others are compared with."""

    def run(self) -> None:
        """Time, print, write."""
        times: dict[str, list[float]] = {name: [] for name in self.contenders}
        for _ in range(self.rounds):
            for name in self.contenders:
                with processes([name], NETWORKS[self.network], self) as running:
                    times[name].append(running[name].seconds_to_build)
        rows = [[CONTENDERS[name].label, *spread(seconds, 1).values()] for name, seconds in times.items()]
        told = f"start-up, {self.network}; {machine(self.threads)}\n\n"
        told += markdown(["until the third step", "s", "min", "max"], rows)
        write(self.out, "startup", told, {"seconds": times})
