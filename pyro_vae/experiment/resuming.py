"""The start of a run: in a new folder, from the weights of another run, or from a checkpoint."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

from pyro_vae._checks import InputError, check
from pyro_vae.data import DataSet
from pyro_vae.experiment.checkpoint import load_state, load_weights
from pyro_vae.experiment.config import Config, TrainingConfig, changed_settings
from pyro_vae.experiment.provenance import check_same_data
from pyro_vae.experiment.run_folder import RunFolder
from pyro_vae.experiment.saved_config import saved_config, saved_info
from pyro_vae.experiment.write_config import write_config
from pyro_vae.guides import AmortizedGuide
from pyro_vae.models.generative import GenerativeModel
from pyro_vae.processes import SINGLE_PROCESS, Processes
from pyro_vae.settings import PARTS
from pyro_vae.settings.declare import setting_of
from pyro_vae.storage import StorageError
from pyro_vae.training import Trainer

__all__ = ["default_name", "open_folder", "restore", "resume_notes", "start_from"]


def start_from(source: Path, config: Config, model: GenerativeModel, guide: AmortizedGuide) -> None:
    """Load the weights of a run with the same networks into both programs.

    Raises:
        InputError: If the folder contains no run or no weights, or its networks differ.
    """
    changed = changed_settings(saved_config(source).model, config.model)
    description = ", ".join(text for declared, text in changed if not declared.start)
    check(
        not description,
        f"Expected the model and guide of {source} to start from; these differ: {description}. Give the same settings.",
    )
    load_weights(RunFolder(source).weights, model, guide)


def restore(trainer: Trainer, source: Path, dataset: DataSet) -> None:
    """Restore the last checkpoint of the run in `source`; without one the trainer starts from the beginning.

    Raises:
        InputError: If the checkpoint is damaged or of other settings, or the run had other data.
    """
    check_same_data(dataset, saved_info(source), source, "start a new run")
    folder = RunFolder(source)
    if not folder.state.exists():
        return
    state = load_state(folder.state)
    try:
        trainer.load_state_dict(state)
    except (KeyError, RuntimeError, ValueError, TypeError, AttributeError):
        raise InputError(
            f"Expected a checkpoint of this run in {folder.state}; it belongs to other settings. "
            "Delete it to start this run again, or start another run."
        ) from None
    check(
        trainer.epochs >= trainer.epoch,
        f"Expected --epochs of at least the {trainer.epoch} that {source} has done; got {trainer.epochs}.",
    )


def resume_notes(config: Config, processes: Processes = SINGLE_PROCESS) -> list[str]:
    """Return notes on differences of a resumed run from one that was never stopped."""
    if config.run.resume is None:
        return []
    before, now = saved_config(config.run.resume).training, config.training
    named = {text.partition(" ")[0]: text for _, text in changed_settings(before, now)}
    epochs = named.pop("--epochs", None)
    changed = list(named.values())
    parts = _shares_of_all_steps(now)
    if epochs is not None and parts:
        changed.append(f"{epochs}, which decides about {' and '.join(parts)}")
    were = saved_info(config.run.resume).get("processes", 1)
    if were != processes.count:
        changed.append(f"number of processes, {were} (now {processes.count})")
    note = f"Resumed with another {'; with another '.join(changed)}: the result is not, to the bit, that of one run."
    return [note] if changed else []


def _shares_of_all_steps(training: TrainingConfig) -> list[str]:
    """Return the schedules of a run that depend on the total number of steps."""
    settings = (
        (getattr(training, field.name), setting_of(field).spread)
        for field in dataclasses.fields(training)
        if _is_used(field.name, training.objective)
    )
    return [
        spread[0].format(value) for value, spread in settings if spread is not None and value != spread[1]
    ]


def _is_used(name: str, objective: str) -> bool:
    """Return whether a setting belongs to the chosen objective, or to no objective."""
    owners = [part for part in PARTS["objective"].values() if hasattr(part, name)]
    return not owners or PARTS["objective"][objective] in owners


def default_name(config: Config) -> str:
    """Return the name of a new folder under runs/, without its number."""
    return f"{Path(config.data.dataset).stem or 'run'}-{config.model.likelihood}"


def open_folder(config: Config, dataset: DataSet, processes: Processes = SINGLE_PROCESS) -> RunFolder:
    """Return the folder to write to: a new one, the resumed one, or a copy of the resumed one.

    Raises:
        InputError: If the folder cannot be used.
    """
    source, target = config.run.resume, config.run.out
    if source is None:
        folder = RunFolder.create(target, default_name(config))
    else:
        folder = RunFolder(source if target is None else target)
        if target is not None and target.resolve() != source.resolve():
            _copy(source, target)
    write_config(folder, config, dataset, processes)
    return folder


def _copy(source: Path, target: Path) -> None:
    """Copy a run without config.json, so that an incomplete copy is not taken as a run."""
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
