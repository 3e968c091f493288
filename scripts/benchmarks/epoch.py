"""A whole epoch: rows in batches, metrics, progress bar and validation."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks._contenders import Contender, compared, processes
from benchmarks._names import ByName
from benchmarks._report import OnDevice, machine, markdown, write
from benchmarks.networks import NETWORKS

CONTENDERS = ByName(
    {
        "ours": Contender("pyro_vae, fit, compiled", "epoch_ours", ("compile",)),
        "bare": Contender("its bare steps", "epoch_ours", ("compile", "bare")),
        "bf16": Contender("pyro_vae, fit, compiled, bf16", "epoch_ours", ("compile", "bf16")),
        "plain": Contender("pyro_vae, fit, Pyro's handlers", "epoch_ours"),
        "pyro": Contender("Pyro, SVI.step over a DataLoader", "epoch_pyro"),
        "pythae": Contender("pythae, BaseTrainer", "epoch_pythae", (), "pythae"),
    }
)


@dataclass(frozen=True)
class Epoch(OnDevice):
    """An epoch including validation: medians over rounds in which the contenders take turns."""

    network: str = "784-400-20"
    """Network, see `step`."""
    num_rows: int = 55_000
    """Number of training rows; a further eleventh is used for validation after each epoch, as with `--dataset
    mnist`."""
    contenders: tuple[str, ...] = tuple(CONTENDERS)
    """Contenders; the first is the reference of the ratios."""

    def run(self) -> None:
        """Time, print and write."""
        chosen = [CONTENDERS[name] for name in self.contenders]
        network = NETWORKS[self.network]._replace(num_rows=self.num_rows)
        with processes(chosen, network, self) as running:
            for _ in range(self.rounds):
                for process in running:
                    process.steps(1)
        rows = compared("an epoch", running, 1.0)
        text = (
            f"{self.network}, batch {network.batch_size}, {self.num_rows} rows, {self.num_rows // 11} of validation, "
            f"{self.rounds} rounds; {machine(self)}, {self.clock} time\n\n"
            f"{markdown(rows[0], rows[1:])}"
        )
        seconds = {process.label: process.times for process in running}
        write(self.out, "epoch", text, {"seconds": seconds, "tables": {"": rows}})
