"""Time to quality: seconds of training until a test log-likelihood is reached."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks._contenders import Contender, environment, python_of
from benchmarks._names import ByName
from benchmarks._report import Options, machine, markdown, write
from pyro_vae.experiment.config import Config, DataConfig, ModelConfig, TrainingConfig, to_json

if TYPE_CHECKING:
    from benchmarks._scoring import Curve
    from pyro_vae.data import DataSet

CONTENDERS = ByName(
    {
        "ours": Contender("pyro_vae, compiled", "quality_ours"),
        "pytorch-compiled": Contender("PyTorch by hand, torch.compile", "quality_pytorch"),
        "numpyro": Contender("NumPyro, jitted epochs", "quality_numpyro", (), "numpyro"),
        "numpyro-tuned": Contender("NumPyro, our recipe", "quality_numpyro_tuned", (), "numpyro"),
        "pyro": Contender("Pyro, SVI.step", "quality_pyro"),
        "pythae": Contender("pythae, BaseTrainer", "quality_pythae", (), "pythae"),
    }
)
PUBLISHED_BATCH = 20
COMPILES_ITSELF = {"TORCHINDUCTOR_COMPILE_THREADS": "1"}
"""torch then compiles in the contender's own process, whose time is counted."""
NETWORK = ModelConfig(likelihood="bernoulli", latent_dim=50, hidden=(200, 200), activation="tanh")
TUNED = TrainingConfig(batch_size=200, lr=4e-3, average=0.05, compile="on", device="cpu")
FAR = replace(TUNED, objective="stl", epochs=100, schedule="constant")
NEAR = replace(TUNED, objective="dreg", num_particles=5, epochs=150)


@dataclass(frozen=True)
class Quality(Options):
    """Seconds of training until a test log-likelihood: ours tuned, peers with the recipe of Burda et al. (2016).

    NumPyro also with our recipe: stages, batches, rates and averaged weights.

    Rows are binarized again each time they are used. Each contender writes its weights during training; they are scored
    afterwards, by bisection, with the same estimator. Times include reading the rows and compiling; processor times
    also include imports.
    """

    dataset: str = "mnist"
    """Data set with grey values, see `svi_train.py`."""
    model: ModelConfig = NETWORK
    """Network of all contenders (the precision applies to ours only)."""
    far: TrainingConfig = FAR
    """First stage of our training: many cheap steps at a constant rate."""
    near: TrainingConfig = NEAR
    """Second stage of our training: a tighter bound with a decreasing rate."""
    contenders: tuple[str, ...] = tuple(CONTENDERS)
    """Contenders; the first is the reference of the ratios, and trains first."""
    seconds: float = 1800.0
    """Largest number of seconds of training of the first contender."""
    times: float = 3.0
    """Training time of the other contenders, as a multiple of the time of the first to its last level."""
    snapshots: int = 24
    """Seconds between snapshots of the weights."""
    levels: tuple[float, ...] = (-90.0, -89.0, -88.0, -87.0)
    """Levels of the mean log p(x) of the test rows, nats, increasing."""
    num_samples: int = 5000
    """Number of samples of z for each row."""
    test_rows: int = 250
    """Number of evenly spaced test rows that are scored with these samples."""

    def run(self) -> None:
        """Train, score, print and write."""
        from benchmarks._scoring import Curve, score
        from pyro_vae.experiment.load_data import load_data

        chosen = {name: CONTENDERS[name] for name in self.contenders}
        dataset = load_data(self._stages()[0])
        x = dataset.test.tensor()
        curves: dict[str, Curve] = {}
        with tempfile.TemporaryDirectory() as folder:
            rows, seconds = _grey(dataset, Path(folder)), self.seconds
            for name, contender in chosen.items():
                paths = self._train(contender, dataset.data_dim, rows, seconds)
                curves[name] = Curve(
                    paths,
                    lambda path: score(path, self.model.activation, x, self.num_samples, self.test_rows),
                )
                reached = [curves[name].seconds_to(level) for level in self.levels]
                if name == self.contenders[0]:
                    seconds = self.times * (reached[-1] or curves[name].seconds[-1])
                self._report(dataset, curves)

    def _stages(self) -> list[Config]:
        data = DataConfig(dataset=self.dataset, binarize="dynamic")
        return [Config(data=data, model=self.model, training=each) for each in (self.far, self.near)]

    def _train(self, contender: Contender, data_dim: int, rows: Path, seconds: float) -> list[Path]:
        """Run a contender to its end; return its files in order."""
        folder = rows.parent / contender.module
        folder.mkdir()
        model = self.model
        job = {
            "network": (data_dim, model.hidden, model.latent_dim, PUBLISHED_BATCH, model.activation),
            "rows": str(rows),
            "folder": str(folder),
            "every": seconds / self.snapshots,
            "seconds": seconds,
            "stages": [to_json(stage) for stage in self._stages()],
        }
        print(f"training {contender.label}, {seconds:.0f} s at most ...", file=sys.stderr, flush=True)
        python = python_of(contender.peer, self.peers)
        done = subprocess.run(
            [python, "-m", f"benchmarks.{contender.module}", json.dumps(job)],
            env=environment(self.threads, self.clock, folder) | COMPILES_ITSELF,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            print(done.stderr[-2000:], file=sys.stderr)
            raise RuntimeError(
                f"{contender.label} ended with status {done.returncode}; see its message above."
            )
        return sorted(folder.glob("*.npz"))

    def _report(self, dataset: DataSet, curves: dict[str, Curve]) -> None:
        """Print and write the results so far."""
        first = next(iter(curves.values()))
        rows = [
            [CONTENDERS[name].label, *(_reached(curve, first, level) for level in self.levels), _ended(curve)]
            for name, curve in curves.items()
        ]
        header = ["seconds to (ratio to the first)", *map(str, self.levels), "ended at"]
        description = (
            f"{dataset.name}, {dataset.description}; {len(dataset.train)} training and "
            f"{len(dataset.test)} test rows; log p(x) by {self.num_samples} samples, nats per example; "
            f"{machine(self)}, {self.clock} time\n\n" + markdown(header, rows)
        )
        figures = {
            name: [(curve.seconds[i], *score) for i, score in sorted(curve.scores.items())]
            for name, curve in curves.items()
        }
        ours = [to_json(stage) for stage in self._stages()]
        values = {"seconds, log p(x), se": figures, "ours": ours, "tables": {"": [header, *rows]}}
        write(self.out, "quality", description, values)


def _reached(curve: Curve, first: Curve, level: float) -> str:
    seconds, of_first = curve.seconds_to(level), first.seconds_to(level)
    if seconds is None:
        return f"not in {curve.seconds[-1]:.3g}"
    return f"{seconds:.3g}" + (f" ({seconds / of_first:.2f})" if of_first else "")


def _ended(curve: Curve) -> str:
    return f"{curve.last.mean:.2f} ± {curve.last.se:.2f} after {curve.seconds[-1]:.3g} s"


def _grey(dataset: DataSet, folder: Path) -> Path:
    """Write the grey values of the training split in [0, 1], float32, for peers."""
    import numpy as np
    import torch

    train = dataset.train
    # The expectation of a binarized value is its grey value.
    stored = train.rows.take(torch.from_numpy(train.index))
    grey, _ = train.preprocessing.moments(stored.float(), torch.zeros(()))
    np.save(folder / "grey.npy", grey.numpy())
    return folder / "grey.npy"
