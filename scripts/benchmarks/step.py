"""One training step, and the time until the end of the first steps."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks._contenders import Contender, Process, ceilings, compared, processes
from benchmarks._names import ByName
from benchmarks._report import OnDevice, machine, markdown, ranged, write
from benchmarks.networks import NETWORKS, Network, flops
from benchmarks.step_profile import report

CONTENDERS = ByName(
    {
        "ours": Contender("pyro_vae, compiled", "ours", ("compile",)),
        "bf16": Contender("pyro_vae, compiled, bf16", "ours", ("compile", "bf16")),
        "plain": Contender("pyro_vae, Pyro's handlers", "ours"),
        "pytorch": Contender("PyTorch by hand", "pytorch"),
        "pytorch-compiled": Contender("PyTorch by hand, torch.compile", "pytorch", ("compile",)),
        "channels-last": Contender("PyTorch by hand, channels last", "pytorch", ("channels-last",)),
        "channels-last-compiled": Contender(
            "PyTorch by hand, channels last, torch.compile", "pytorch", ("channels-last", "compile")
        ),
        "pyro": Contender("Pyro, SVI.step", "pyro_stock"),
        "pyro-jit": Contender("Pyro, JitTrace_ELBO", "pyro_stock", ("jit",)),
        "numpyro": Contender("NumPyro, jitted update", "numpyro_svi", (), "numpyro"),
    }
)
PUBLISHED = ("784-400-20", "784-200-200-50", "784-1000-1000-50")


def _chosen(names: tuple[str, ...], network: Network) -> list[Contender]:
    """Return the contenders with these names; if none are given, all that differ on a network."""
    differing = [name for name in CONTENDERS if network.channels or not name.startswith("channels-last")]
    return [CONTENDERS[name] for name in names or differing]


@dataclass(frozen=True)
class Step(OnDevice):
    """One training step: medians over rounds in which the contenders take turns."""

    networks: tuple[str, ...] = PUBLISHED
    """Networks: 784-400-20, 784-200-200-50, 784-1000-1000-50, convolutional, tiny, tiny-convolutional."""
    contenders: tuple[str, ...] = ()
    """Contenders; the first is the reference of the ratios. By default all that differ on the network."""
    seconds: float = 0.5
    """Seconds of a turn."""
    profile: bool = False
    """Print the time of our compiled step by part instead of the comparison."""

    def run(self) -> None:
        """Time, print and write."""
        columns: dict[str, list[list[str]]] = {}
        for name, network in [(name, NETWORKS[name]) for name in self.networks]:
            if self.profile:
                report(name, network, self)
                continue
            with processes(_chosen(self.contenders, network), network, self) as running:
                for _ in range(self.rounds):
                    for process in running:
                        process.round(self.seconds)
            columns[f"{name}, batch {network.batch_size}"] = self._report(name, running)
        table = _overview(columns)
        if table:
            write(self.out, "step", markdown(table[0], table[1:]), {"tables": {"": table}})

    def _report(self, name: str, running: list[Process]) -> list[list[str]]:
        limits = ceilings(self.threads, self.device)
        network = NETWORKS[name]
        work = 1e-9 * flops(network)
        rows = compared("one step", running)
        text = (
            f"{name}, batch {network.batch_size}, {self.rounds} rounds; {machine(self)}, {self.clock} time\n\n"
            f"{markdown(rows[0], rows[1:])}\n\n{work:.2f} GFLOP of matrix products a step; ceilings: "
            + ", ".join(f"{value:.0f} ({what})" for what, value in limits.items())
        )
        figures = {process.label: process.times for process in running}
        write(self.out, f"step-{name}", text, {"seconds": figures, "ceilings": limits, "gflop": work})
        return rows


def _overview(columns: dict[str, list[list[str]]]) -> list[list[str]]:
    """Return one table of all networks: the time of the first contender and the ratios of the others.

    Empty if the networks have different contenders.
    """
    labels = {tuple(label for label, *_ in rows[1:]) for rows in columns.values()}
    if len(labels) != 1:
        return []
    cells = [
        [f"1 ({first[1]} ms)", *(ratio for *_, ratio in others)] for _, first, *others in columns.values()
    ]
    lines = zip(labels.pop(), zip(*cells, strict=True), strict=True)
    return [["ratio to the first", *columns], *([label, *line] for label, line in lines)]


@dataclass(frozen=True)
class Startup(OnDevice):
    """Time from the start of a contender's work to the end of its third step, without imports, with compiling.

    Each round has two starts: the first without any compiled code, the second with all of it in the cache.
    """

    network: str = "784-400-20"
    """Network, see `step`."""
    contenders: tuple[str, ...] = ()
    """Contenders, see `step`."""

    def run(self) -> None:
        """Time, print and write."""
        network = NETWORKS[self.network]
        chosen = _chosen(self.contenders, network)
        starts = ("first", "second")
        times: dict[str, list[float]] = {f"{c.label}, {start} start": [] for c in chosen for start in starts}
        for _ in range(self.rounds):
            for contender in chosen:
                with tempfile.TemporaryDirectory() as cache:
                    for start in starts:
                        with processes([contender], network, self, Path(cache)) as (process,):
                            times[f"{contender.label}, {start} start"].append(process.seconds_to_build)
        header, rows = ["until the third step", "s"], [[label, ranged(s)] for label, s in times.items()]
        text = f"start-up, {self.network}, {self.rounds} rounds; {machine(self)}, {self.clock} time\n\n"
        text += markdown(header, rows)
        write(self.out, "startup", text, {"seconds": times, "tables": {"": [header, *rows]}})
