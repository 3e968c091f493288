"""The main job: from a configuration to a finished run folder."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Any

import torch

from pyro_vae._checks import LostProcessError, NonFiniteLossError
from pyro_vae.data import DataSet
from pyro_vae.experiment.build import build, starting_rows
from pyro_vae.experiment.checkpoint import save_weights
from pyro_vae.experiment.checkpoints import Checkpoints
from pyro_vae.experiment.closing_table import closing_table
from pyro_vae.experiment.config import Config
from pyro_vae.experiment.evaluation import Evaluation, Extent, evaluate, extent_of
from pyro_vae.experiment.facts import test_facts
from pyro_vae.experiment.figures import write_figures
from pyro_vae.experiment.interruption import Interrupted, interruptible
from pyro_vae.experiment.load_data import load_data
from pyro_vae.experiment.opening_lines import opening_lines
from pyro_vae.experiment.resolve import fit_settings, resolve
from pyro_vae.experiment.resuming import open_folder, restore, resume_notes, start_from
from pyro_vae.experiment.run_folder import RunFolder
from pyro_vae.experiment.stop_on_signal import StopOnSignal
from pyro_vae.processes import Processes, started_processes
from pyro_vae.progress import quiet
from pyro_vae.storage import StorageError, write_json
from pyro_vae.training import FitResult, ProgressBar, Trainer, make_trainer, resolve_device

__all__ = ["train"]


def train(config: Config) -> int:
    """Train what a configuration names, write its run folder and print its table.

    Of the processes that torchrun has started each trains and evaluates on its share of the rows; the first one writes.

    Args:
        config: As parsed; what it leaves open is chosen from the data.

    Returns:
        The exit status: 0, or 128 + the signal that stopped training.

    Raises:
        InputError: If the data or a setting is not usable, or the folder cannot be written.
        NonFiniteLossError: If training met a loss that is not finite.
        LostProcessError: If another process has ended.
    """
    with quiet(config.run.quiet):
        return _train(config)


def _train(config: Config) -> int:
    processes = started_processes()
    dataset = _load_in_turn(config, processes)
    device = resolve_device(config.training.device)
    mean, std = dataset.statistics()
    config = resolve(config, dataset, std, device.type)
    model, guide = build(
        config.model, mean, std, config.training.seed, starting_rows(config.model, dataset.train)
    )
    if config.run.start is not None:
        start_from(config.run.start, config, model, guide)
    settings = fit_settings(config.training) | {"processes": processes}
    trainer = make_trainer(model, guide, dataset.train, dataset.validation, **settings)
    if config.run.resume is not None:
        restore(trainer, config.run.resume, dataset)
    if processes.rank > 0:
        return _take_part(config, dataset, model, guide, trainer)

    # Nothing is written until all that can be refused has been looked at.
    notes = resume_notes(config, processes)
    if processes.count > 1:
        notes.append(f"{processes.count} processes share the rows of every batch")
    folder = open_folder(config, dataset, processes)
    print("\n".join(opening_lines(config, dataset, folder.path, notes)), flush=True)
    try:
        return _fill(folder, config, dataset, model, guide, trainer)
    except StorageError as error:
        raise StorageError(f"{error} Then go on with --resume {folder.path}.") from None


def _load_in_turn(config: Config, processes: Processes) -> DataSet:
    """Load the data in the first process before the others: what has to be fetched is fetched once."""
    turn = torch.zeros(())
    if processes.rank > 0:
        processes.sum(turn)
    dataset = load_data(config)
    if processes.rank == 0:
        processes.sum(turn)
    return dataset


def _take_part(config: Config, dataset: DataSet, model: Any, guide: Any, trainer: Trainer) -> int:
    """Train and evaluate beside the first process, which writes; return the exit status."""
    signals = StopOnSignal(trainer.processes)
    trainer.callbacks = (signals,)
    trainer.run()
    if signals.received is not None:
        return 128 + signals.received
    try:
        with interruptible(trainer.processes):
            evaluate(_extent(config, dataset, model, guide), config, dataset, model, guide, trainer.processes)
    except Interrupted as stop:
        return 128 + stop.signal
    return 0


def _extent(config: Config, dataset: DataSet, model: Any, guide: Any) -> Extent:
    return extent_of(config.run.evaluate, dataset, model, guide)


def _fill(
    folder: RunFolder, config: Config, dataset: DataSet, model: Any, guide: Any, trainer: Trainer
) -> int:
    """Train and write all that a run leaves behind; return the exit status."""
    signals, checkpoints = StopOnSignal(trainer.processes), Checkpoints(folder, config.run.checkpoint_seconds)
    trainer.callbacks = (ProgressBar(), signals, checkpoints)
    result = _run(trainer, checkpoints)
    if signals.received is not None:
        return _interrupted(signals.received, folder)

    save_weights(folder.weights, model, guide)
    write_json(folder.summary, _summary(config, dataset, Evaluation(Extent("none")), result))
    try:
        with interruptible(trainer.processes):
            _close(folder, config, dataset, trainer, result)
    except Interrupted as stop:
        print(f"Stopped by {stop.signal.name} while evaluating. {_how_to_evaluate(folder)}", flush=True)
        return 128 + stop.signal
    except LostProcessError as error:
        raise LostProcessError(f"{error} {_how_to_evaluate(folder)}") from None
    return 0


def _close(folder: RunFolder, config: Config, dataset: DataSet, trainer: Trainer, result: FitResult) -> None:
    """Evaluate, write and print the numbers, then draw: no picture decides about a number."""
    model: Any = trainer.modules()[0]
    guide: Any = trainer.modules()[1]
    extent = _extent(config, dataset, model, guide)
    evaluation = evaluate(extent, config, dataset, model, guide, trainer.processes)
    write_json(folder.summary, _summary(config, dataset, evaluation, result))
    print(closing_table(config, dataset, evaluation, result, folder.path), flush=True)
    if extent.kind == "none":
        print(_how_to_evaluate(folder))
        return
    if extent.kind == "quick":
        print(f"All of it: {sys.argv[0]} --resume {folder.path} --evaluate full", flush=True)
    notes = write_figures(
        folder.figures, model, guide, dataset, result.history, best_epoch=result.best_epoch, progress=True
    )
    for note in notes:
        print(f"note: {note}")


def _how_to_evaluate(folder: RunFolder) -> str:
    scoring = Path(sys.argv[0]).with_name("evaluate.py")
    return (
        f"The trained run is kept in {folder.path}. Score its test rows with: {scoring} {folder.path}, or evaluate it "
        f"with: {sys.argv[0]} --resume {folder.path} --evaluate full"
    )


def _run(trainer: Trainer, checkpoints: Checkpoints) -> FitResult:
    """Train; leave a checkpoint behind however training ends."""
    try:
        result = trainer.run()
        checkpoints.save(trainer)
    except NonFiniteLossError:
        checkpoints.save(trainer)
        raise
    return result


def _interrupted(received: signal.Signals, folder: RunFolder) -> int:
    print(
        f"Stopped by {received.name} and saved. Go on with: {sys.argv[0]} --resume {folder.path}", flush=True
    )
    return 128 + received


def _summary(config: Config, dataset: DataSet, evaluation: Evaluation, result: FitResult) -> dict[str, Any]:
    settings = {
        "likelihood": config.model.likelihood,
        "guide": config.model.guide,
        "prior": config.model.prior,
        "objective": config.training.objective,
        "seed": config.training.seed,
    }
    training = {
        "train_seconds": round(result.seconds, 3),
        "compile_seconds": round(result.compile_seconds, 3),
        "epochs": len(result.history),
        "best_epoch": result.best_epoch,
        "kept_by": result.kept_by,
        "stopped": result.stopped,
    }
    return test_facts(dataset) | settings | evaluation.summary() | training
