"""The run folder: a configuration, its weights, its results; and the job that fills it."""

from __future__ import annotations

import dataclasses
import json
import shutil
import signal
import time
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import torch

from pyro_vae import __version__
from pyro_vae._checks import InputError, check
from pyro_vae.building import build
from pyro_vae.checkpoint import (
    PARTIAL,
    StorageError,
    load_state,
    load_weights,
    nulled,
    save_state,
    save_weights,
    write_atomically,
    write_json,
)
from pyro_vae.config import Config, from_json, to_json
from pyro_vae.data import DataSet, load_dataset
from pyro_vae.guides import AmortizedGuide
from pyro_vae.likelihoods import LIKELIHOODS
from pyro_vae.models import GenerativeModel
from pyro_vae.processes import ALONE, Processes
from pyro_vae.training import Callback, Trainer

__all__ = ["Checkpoints", "Run", "RunFolder", "StopOnSignal", "load_data", "load_run", "saved_config"]


class RunFolder:
    """The files of one run, by name.

    Args:
        path: The folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.json"
        self.metrics = path / "metrics.jsonl"
        self.weights = path / "model.safetensors"
        self.state = path / "checkpoint" / "state.pt"
        self.summary = path / "summary.json"
        self.figures = path / "figures"

    @classmethod
    def create(cls, path: Path | None, name: str) -> RunFolder:
        """Make the folder of a new run: `path`, or the next free number `runs/NAME-001`, `-002`, ...

        Raises:
            InputError: If `path` holds files already or cannot be made.
        """
        try:
            if path is not None:
                path.mkdir(parents=True, exist_ok=True)
                check(
                    not any(entry.suffix != PARTIAL for entry in path.iterdir()),
                    f"Expected a new or empty folder for --out; {path} holds files. Choose another, or go on with "
                    f"that run by --resume {path}.",
                )
                return cls(path)
            parent = Path("runs")
            parent.mkdir(exist_ok=True)
            number = 1
            while True:
                try:
                    (parent / f"{name}-{number:03d}").mkdir()
                    return cls(parent / f"{name}-{number:03d}")
                except FileExistsError:
                    number += 1
        except OSError as error:
            raise InputError(
                f"Expected a folder to write the run to; {path or Path('runs')} cannot be made or written "
                f"({error.strerror}). Give another by --out."
            ) from None

    def append_metrics(self, line: dict[str, Any]) -> None:
        """Add one epoch's line."""
        try:
            with self.metrics.open("a", encoding="utf-8") as file:
                file.write(json.dumps(nulled(line)) + "\n")
        except OSError as error:
            raise StorageError(
                f"Could not write {self.metrics}: {error.strerror}. Free some space."
            ) from error


class Run(NamedTuple):
    """A run read back from its folder."""

    model: GenerativeModel
    guide: AmortizedGuide
    config: Config
    info: dict[str, Any]
    """What config.json says besides the configuration: data, versions."""


def write_config(folder: RunFolder, config: Config, dataset: DataSet, processes: Processes) -> None:
    """Write all that is needed to build the run again: every choice resolved, the data's SHA-256, versions."""
    packages = ("torch", "pyro-ppl", "numpy", "scikit-learn")
    data = {
        "name": dataset.name,
        "sha256": dataset.sha256,
        "data_shape": list(dataset.data_shape),
        "preprocessing": dataset.preprocessing.description,
        "num_rows": {split.name: len(split) for split in (dataset.train, dataset.validation, dataset.test)},
    }
    versions = {"pyro_vae": __version__} | {name: version(name) for name in packages}
    machine = {"threads": torch.get_num_threads(), "processes": processes.count}
    write_json(folder.config, {"config": to_json(config), "data": data, "versions": versions} | machine)


def _read_config(path: Path) -> dict[str, Any]:
    file = RunFolder(path).config
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        values["config"], values["data"]["sha256"], values["data"]["data_shape"]
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(
            f"Expected the folder of a run; there is no config.json in {path}. Give the folder's path."
        ) from None
    except OSError as error:
        raise InputError(f"Could not read {file}: {error.strerror}.") from None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"Expected a configuration in {file}; the file is damaged ({error}).") from None
    checked: dict[str, Any] = values
    return checked


def saved_config(path: Path) -> Config:
    """Return the configuration of a run, ready to resume it.

    Raises:
        InputError: If the folder holds no run or a damaged one.
    """
    config = from_json(_read_config(path)["config"])
    return dataclasses.replace(config, run=dataclasses.replace(config.run, out=path, resume=path))


def saved_info(path: Path) -> dict[str, Any]:
    """Return what a run's config.json says besides the configuration.

    Raises:
        InputError: If the folder holds no run or a damaged one.
    """
    values = _read_config(path)
    return {name: part for name, part in values.items() if name != "config"}


def load_data(config: Config) -> DataSet:
    """Return the data set that a configuration names, under the preprocessing that its likelihood needs."""
    data = config.data
    return load_dataset(
        data.dataset,
        data_root=data.data_root,
        likelihood_kind=LIKELIHOODS[config.model.likelihood].kind,
        binarize=data.binarize,
        dequantize=data.dequantize,
    )


def load_run(path: str | Path, device: str | torch.device = "cpu") -> Run:
    """Read a run back: model and guide with the best weights, in evaluation mode, and the configuration.

    Args:
        path: The run's folder.
        device: Where the programs are wanted.

    Raises:
        InputError: If the folder holds no run, or its weights are missing, damaged or of other settings.
    """
    folder = RunFolder(Path(path))
    values = _read_config(folder.path)
    config = from_json(values.pop("config"))
    data_dim = torch.Size(values["data"]["data_shape"]).numel()
    # The data's mean and scale are kept with the weights: placeholders here.
    model, guide = build(config.model, torch.full((data_dim,), 0.5), torch.ones(data_dim))
    load_weights(folder.weights, model, guide)
    return Run(model.to(device).eval(), guide.to(device).eval(), config, values)


class Checkpoints(Callback):
    """Writes the run folder as training goes: a line an epoch, and the state every so many seconds.

    Args:
        folder: Where to write.
        seconds: Time between two states; the last one is always written when training stops.
    """

    touches_programs = False

    def __init__(self, folder: RunFolder, seconds: float = 30.0) -> None:
        self.folder = folder
        self.seconds = seconds
        self._saved_at = time.monotonic()
        self._best_epoch = 0

    def on_start(self, trainer: Trainer) -> None:
        """Cut the lines of epochs that a resumed state has not seen."""
        lines = "".join(json.dumps(nulled(line)) + "\n" for line in trainer.history)
        with write_atomically(self.folder.metrics) as temporary:
            temporary.write_text(lines, encoding="utf-8")

    def on_step(self, trainer: Trainer) -> None:
        """Save when it is time."""
        if time.monotonic() - self._saved_at >= self.seconds:
            self.save(trainer)

    def on_epoch(self, trainer: Trainer) -> None:
        """Add the epoch's line."""
        self.folder.append_metrics(trainer.history[-1])

    def save(self, trainer: Trainer) -> None:
        """Write the state, and the best weights where there are new ones."""
        if trainer.best.epoch > self._best_epoch:
            save_weights(self.folder.weights, *trainer.modules(), trainer.best.weights)
            self._best_epoch = trainer.best.epoch
        save_state(self.folder.state, trainer.state_dict())
        self._saved_at = time.monotonic()


class StopOnSignal(Callback):
    """Ends training after the step in which SIGINT or SIGTERM came; a second one ends the process at once.

    Of several processes all end where one got a signal, and further ones are left unheard: the launcher sends each on.

    Args:
        processes: Those that train together.
    """

    touches_programs = False
    signals = (signal.SIGINT, signal.SIGTERM)

    def __init__(self, processes: Processes = ALONE) -> None:
        self.processes = processes
        self.received: signal.Signals | None = None
        self._before: dict[signal.Signals, Any] = {}

    def on_start(self, trainer: Trainer) -> None:
        """Take the signals over."""
        self._before = {number: signal.signal(number, self._receive) for number in self.signals}

    def on_step(self, trainer: Trainer) -> None:
        """Stop training where a signal has come."""
        if self.received is not None:
            trainer.stop(self.received.name)

    def on_end(self, trainer: Trainer) -> None:
        """Give the signals back."""
        if self.processes.count > 1:
            # What all have agreed on: another process's signal, or none where training was done first.
            own = self.received or signal.SIGTERM
            self.received = None if trainer.stopped in ("", "patience") else own
        if self.processes.count == 1 or self.received is None:
            self._restore()

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.received = signal.Signals(number)
        if self.processes.count == 1:
            self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}


def start_from(source: Path, config: Config, model: GenerativeModel, guide: AmortizedGuide) -> None:
    """Give both programs the weights of a run with the same networks.

    Raises:
        InputError: If the folder holds no run or no weights, or its networks are others.
    """
    before = saved_config(source).model
    now = dataclasses.replace(config.model, dropout=before.dropout)  # which changes no weight's meaning
    names = [field.name for field in dataclasses.fields(now)]
    changed = [name for name in names if getattr(before, name) != getattr(now, name)]
    told = ", ".join(f"--{n.replace('_', '-')} {getattr(before, n)} (now {getattr(now, n)})" for n in changed)
    check(
        not changed,
        f"Expected the model and guide of {source} to start from; these differ: {told}. Give the same settings.",
    )
    load_weights(RunFolder(source).weights, model, guide)


def restore(trainer: Trainer, source: Path, dataset: DataSet) -> None:
    """Put a trainer where the last checkpoint of the run in `source` was taken; without one it starts anew.

    Raises:
        InputError: If the checkpoint is damaged or belongs to other settings, or the run had other data.
    """
    was = saved_info(source)["data"]["sha256"]
    check(
        was == dataset.sha256,
        f"Expected the data that {source} was trained on; {dataset.name} has changed since (SHA-256 "
        f"{dataset.sha256[:12]}, was {was[:12]}). Put the old data back, or start a new run.",
    )
    folder = RunFolder(source)
    if not folder.state.exists():
        return
    state = load_state(folder.state)
    try:
        trainer.load_state_dict(state)
    except (KeyError, RuntimeError, ValueError, TypeError, AttributeError):
        raise InputError(
            f"Expected a checkpoint of this run in {folder.state}; it belongs to other settings. "
            "Delete it to start this run anew, or start another run."
        ) from None
    check(
        trainer.epochs >= trainer.epoch,
        f"Expected --epochs of at least the {trainer.epoch} that {source} has done; got {trainer.epochs}.",
    )


def resume_notes(config: Config, processes: Processes = ALONE) -> list[str]:
    """Return sentences on what makes a resumed run differ from one that was never stopped."""
    if config.run.resume is None:
        return []
    before, now = saved_config(config.run.resume).training, config.training
    changed = [
        f"--{name} {getattr(before, name)} (now {getattr(now, name)})"
        for name in ("epochs", "device")
        if getattr(before, name) != getattr(now, name)
    ]
    were = saved_info(config.run.resume).get("processes", 1)
    if were != processes.count:
        changed.append(f"number of processes, {were} (now {processes.count})")
    told = f"Resumed with another {' and '.join(changed)}: the result is not, to the bit, that of one run."
    return [told] if changed else []


def open_folder(config: Config, dataset: DataSet, processes: Processes = ALONE) -> RunFolder:
    """Return the folder to write to: a new one, the resumed one, or a copy of the resumed one.

    Raises:
        InputError: If the folder cannot be used.
    """
    source, target = config.run.resume, config.run.out
    if source is None:
        name = Path(config.data.dataset).stem or "run"
        folder = RunFolder.create(target, f"{name}-{config.model.likelihood}")
    else:
        folder = RunFolder(source if target is None else target)
        if target is not None and target.resolve() != source.resolve():
            _copy(source, target)
    write_config(folder, config, dataset, processes)
    return folder


def _copy(source: Path, target: Path) -> None:
    """Copy a run but for config.json, which makes a folder a run: a copy that is cut off is none."""
    check(
        source.resolve() not in target.resolve().parents,
        f"Expected a folder for --out that lies outside of the run that it copies; {target} lies in {source}.",
    )
    RunFolder.create(target, "")
    try:
        shutil.copytree(
            source, target, ignore=shutil.ignore_patterns("config.json", ".*"), dirs_exist_ok=True
        )
    except OSError as error:
        reason = error.strerror or "not all files could be copied"
        raise StorageError(f"Could not copy {source} to {target}: {reason}. Delete {target}.") from error
