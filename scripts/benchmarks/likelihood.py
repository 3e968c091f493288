"""Importance-sampled log-likelihoods, compared with the matrix products of the decoder and with pythae."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks._contenders import Contender, ceilings, compared, processes
from benchmarks._names import ByName
from benchmarks._report import OnDevice, machine, markdown, write
from benchmarks.networks import NETWORKS

CONTENDERS = ByName(
    {
        "ours": Contender("pyro_vae, log_likelihood, compiled", "likelihood_ours", ("compile",)),
        "plain": Contender("pyro_vae, log_likelihood, uncompiled", "likelihood_ours"),
        "products": Contender("the decoder's matrix products alone", "likelihood_ours", ("products",)),
        "decoder": Contender("the decoder alone, PyTorch eager", "likelihood_ours", ("decoder",)),
        "pythae": Contender("pythae, get_nll", "likelihood_pythae", (), "pythae"),
    }
)
NUM_SAMPLES = 5000
"""Number of samples of z for each row, as published."""


@dataclass(frozen=True)
class Likelihood(OnDevice):
    """The log-likelihood of a row with 5000 samples of z: medians over rounds in which the contenders take turns."""

    network: str = "784-200-200-50"
    """Network, see `step`."""
    contenders: tuple[str, ...] = tuple(CONTENDERS)
    """Contenders; the first is the reference of the ratios."""
    seconds: float = 1.0
    """Seconds of a turn."""

    def run(self) -> None:
        """Time, print and write."""
        chosen = [CONTENDERS[name] for name in self.contenders]
        with processes(chosen, NETWORKS[self.network], self) as running:
            for _ in range(self.rounds):
                for process in running:
                    process.round(self.seconds)
        limits = ceilings(self.threads, self.device)
        rows = compared("one row", running)
        text = (
            f"{self.network}, {NUM_SAMPLES} samples a row, {self.rounds} rounds; {machine(self)}, "
            f"{self.clock} time\n\n{markdown(rows[0], rows[1:])}"
        )
        figures = {process.label: process.times for process in running}
        write(self.out, "likelihood", text, {"seconds": figures, "ceilings": limits, "tables": {"": rows}})
