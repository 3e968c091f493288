"""Train with the default settings on easy and on hard data under every likelihood; no loss may be non-finite.

python scripts/check_stability.py
python scripts/check_stability.py --datasets constant one-hot --seeds 2 --epochs 20
"""

from _clone import find_package

find_package()

from pyro_vae._environment import limit_thread_spinning, run_script

limit_thread_spinning()

import math
import os
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Literal, get_args

from pyro_vae._checks import InputError, NonFiniteLossError, check_integer
from pyro_vae._command_line import parse
from pyro_vae.experiment.config import Config, DataConfig, ModelConfig
from pyro_vae.settings import PARTS

if TYPE_CHECKING:
    from pyro_vae.data import DataSet

DataName = Literal["digits", "mnist", "constant", "constant-binary", "one-hot", "one-hot-floats"]
MNIST_EPOCHS = 3
QUICK = {"digits": 1, "mnist": 1}
"""Epochs of a smoke run; the made tables have 5."""


@dataclass(frozen=True)
class Arguments:
    """Train with the default settings under every likelihood; no loss may be non-finite."""

    datasets: tuple[DataName, ...] = get_args(DataName)
    """constant: normal columns beside constant ones; one-hot: twelve columns, one of them 1."""
    likelihoods: tuple[str, ...] = tuple(PARTS["likelihood"])
    """As for svi_train.py; bernoulli is tried as stored and with dynamic binarization."""
    seeds: int = 5
    """Runs of each combination, with the seeds 0, 1, ..."""
    epochs: int | None = None
    """Number of epochs; by default that of the training command, and 3 for mnist."""
    data_root: Path | None = None
    """Folder that holds mnist; by default PYRO_VAE_DATA if it is set, else ./data."""
    quick: bool = False
    """A smoke run: one seed, a few epochs, small networks."""


@dataclass
class Outcome:
    """What the runs of one likelihood on one data set came to."""

    data: str
    likelihood: str
    preprocessing: str = ""
    elbos: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    refused: str = ""
    seconds: float = 0.0

    @property
    def heading(self) -> str:
        """What the numbers are about: only those under one heading may be compared."""
        return f"{self.data}, {self.preprocessing}; test ELBO in nats per example"

    def row(self) -> list[str]:
        """Return the cells of the table."""
        ran = len(self.elbos) + len(self.failures)
        numbers = [min(self.elbos), statistics.median(self.elbos)] if self.elbos else [math.nan] * 2
        texts = [f"{number:.2f}" for number in numbers]
        return [self.likelihood, str(ran), *texts, str(len(self.failures)), f"{self.seconds:.0f}"]


def make_tables(folder: Path) -> dict[str, Path]:
    """Write the tables that are made up here; return where they lie, by name."""
    import numpy as np

    rng = np.random.default_rng(0)
    normal, bits = rng.normal(size=(1000, 8)), rng.integers(0, 2, (1000, 8), dtype=np.uint8)
    one_hot = np.eye(12, dtype=np.uint8)[rng.integers(0, 12, 1000)]
    ones = np.ones((1000, 1))
    tables = {
        "constant": np.hstack([normal, 0 * ones, 1e3 * ones, -1e-6 * ones]),
        "constant-binary": np.hstack([bits, 0 * bits[:, :1], 0 * bits[:, :1] + 1]),
        "one-hot": one_hot,
        "one-hot-floats": one_hot.astype(float),
    }
    for name, table in tables.items():
        np.savez(folder / f"{name}.npz", x=table)
    return {name: folder / f"{name}.npz" for name in tables}


def combinations(arguments: Arguments, paths: dict[str, Path]) -> Iterator[tuple[Outcome, Config]]:
    """Yield each combination of a data set, a likelihood and, for bernoulli, a binarization."""
    for name in arguments.datasets:
        for likelihood in arguments.likelihoods:
            for binarize in ("none", "dynamic") if likelihood == "bernoulli" else ("none",):
                data = DataConfig(
                    dataset=str(paths.get(name, name)), data_root=arguments.data_root, binarize=binarize
                )
                shown = f"{name}, binarized" if binarize == "dynamic" else name
                model = ModelConfig(likelihood=likelihood)
                if arguments.quick:
                    model = replace(model, hidden=(16,))
                yield Outcome(shown, likelihood), Config(data=data, model=model)


def missing(arguments: Arguments) -> bool:
    """Return whether mnist has to be left out for want of its files; nothing is downloaded."""
    root = Path(arguments.data_root or os.environ.get("PYRO_VAE_DATA") or "data")
    return not (root / "MNIST" / "raw").is_dir()


def epochs_of(arguments: Arguments, name: str, dataset: "DataSet") -> int:
    """Return how long to train."""
    from pyro_vae.experiment.resolve import default_epochs

    if arguments.quick:
        return QUICK.get(name, 5)
    if arguments.epochs is not None:
        return arguments.epochs
    return MNIST_EPOCHS if name == "mnist" else default_epochs(len(dataset.train), 128)


def measure(arguments: Arguments, outcome: Outcome, config: Config) -> None:
    """Train once for each seed and note the final ELBO of the test rows, or what went wrong."""
    from pyro_vae.experiment.load_data import load_data
    from pyro_vae.likelihoods import LIKELIHOODS

    try:
        dataset = load_data(config)
    except InputError as error:
        # Only a density on all reals takes every one of these data sets.
        if LIKELIHOODS[config.model.likelihood].kind == "continuous":
            raise
        outcome.refused = str(error)
        return
    outcome.preprocessing = dataset.description
    epochs = epochs_of(arguments, config.data.dataset, dataset)
    for seed in range(1 if arguments.quick else arguments.seeds):
        started = time.monotonic()
        try:
            outcome.elbos.append(final_elbo(config, dataset, epochs, seed))
            texts = f"{outcome.elbos[-1]:.2f} nats per example"
        except NonFiniteLossError as error:
            outcome.failures.append(texts := f"seed {seed}: {error}")
        outcome.seconds += time.monotonic() - started
        print(
            f"{outcome.data}, {outcome.likelihood}, {epochs} epochs, seed {seed}: {texts} "
            f"({time.monotonic() - started:.1f} s)",
            flush=True,
        )


def final_elbo(config: Config, dataset: "DataSet", epochs: int, seed: int) -> float:
    """Train with the default settings; return the test ELBO in nats per example.

    Raises:
        NonFiniteLossError: If a loss or the test ELBO is not finite.
    """
    from pyro_vae.experiment.prepare import prepare
    from pyro_vae.objectives import estimate_elbo

    training = replace(config.training, epochs=epochs, seed=seed, device="cpu")
    prepared = prepare(replace(config, training=training), dataset)
    prepared.fit(progress=False)
    elbo = estimate_elbo(prepared.model, prepared.guide, dataset.test).mean
    if not math.isfinite(elbo):
        raise NonFiniteLossError(f"The test ELBO is {elbo}.")
    return elbo


def tables(outcomes: list[Outcome]) -> str:
    """Return a table for each data set and preprocessing, then what was refused and what failed."""
    from pyro_vae.experiment.text_table import format_table

    header = ["likelihood", "runs", "worst", "median", "non-finite", "seconds"]
    ran = [outcome for outcome in outcomes if not outcome.refused]
    parts = []
    for heading in dict.fromkeys(outcome.heading for outcome in ran):
        rows = [outcome.row() for outcome in ran if outcome.heading == heading]
        parts += ["", heading, format_table([header, *rows])]
    refused = [f"  {o.data}, {o.likelihood}: {o.refused}" for o in outcomes if o.refused]
    failed = [f"  {o.data}, {o.likelihood}, {text}" for o in outcomes for text in o.failures]
    return "\n".join([*parts, "", "refused by design:", *refused, "", "failed:", *(failed or ["  none"])])


def main() -> int:
    """Train every combination; tell what became of it."""
    arguments: Arguments = parse(Arguments)
    check_integer(arguments.seeds, "--seeds")
    if arguments.epochs is not None:
        check_integer(arguments.epochs, "--epochs")
    if "mnist" in arguments.datasets and missing(arguments):
        print("mnist is left out: its files lie neither under --data-root nor under PYRO_VAE_DATA.")
        arguments = replace(arguments, datasets=tuple(name for name in arguments.datasets if name != "mnist"))
    outcomes = []
    with TemporaryDirectory() as folder:
        for outcome, config in combinations(arguments, make_tables(Path(folder))):
            measure(arguments, outcome, config)
            outcomes.append(outcome)
    print(tables(outcomes))
    return int(any(outcome.failures for outcome in outcomes))


if __name__ == "__main__":
    run_script(main)
