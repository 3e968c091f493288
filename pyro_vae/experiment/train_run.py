"""Training from a configuration to a finished run folder."""

from __future__ import annotations

import signal

import torch

from pyro_vae._checks import InputError, LostProcessError, NonFiniteLossError
from pyro_vae._commands import command
from pyro_vae.data import DataSet
from pyro_vae.experiment.autoencoder import trained_error
from pyro_vae.experiment.checkpoint import save_weights
from pyro_vae.experiment.checkpoint_callback import Checkpoints
from pyro_vae.experiment.closing_table import closing_table
from pyro_vae.experiment.config import Config
from pyro_vae.experiment.evaluation import Evaluation, evaluate
from pyro_vae.experiment.extent import Extent, extent_of
from pyro_vae.experiment.interruption import Interrupted, interruptible
from pyro_vae.experiment.load_data import load_data
from pyro_vae.experiment.logs import check_logs, logs
from pyro_vae.experiment.opening_lines import opening_lines
from pyro_vae.experiment.prepare import Prepared, prepare
from pyro_vae.experiment.report.packages import check_packages
from pyro_vae.experiment.resuming import open_folder, restore, resume_notes, start_from
from pyro_vae.experiment.run_folder import RunFolder
from pyro_vae.experiment.sample_quality import quality_note, write_quality_figure
from pyro_vae.experiment.several_seeds import train_seeds
from pyro_vae.experiment.stop_on_signal import StopOnSignal
from pyro_vae.experiment.summary import write_summary
from pyro_vae.processes import Processes, started_processes
from pyro_vae.progress import quiet
from pyro_vae.storage import StorageError
from pyro_vae.training import FitResult, ProgressBar, Trainer

__all__ = ["train"]


def train(config: Config) -> int:
    """Train the model of a configuration, write its run folder and print its table; with `run.seeds` once per seed.

    Each of the processes started by torchrun trains and evaluates on its share of the rows; the first one writes.

    Args:
        config: Configuration as parsed; what it leaves open is chosen from the data.

    Returns:
        The exit status: 0, or 128 + the signal that stopped training.

    Raises:
        InputError: If the data or a setting is invalid, or the folder cannot be written.
        NonFiniteLossError: If the loss was not finite.
        LostProcessError: If another process has ended.
    """
    with quiet(config.run.quiet):
        processes = started_processes()
        if config.run.seeds:
            return train_seeds(config, processes, _train)
        return _train(config, processes)


def _train(config: Config, processes: Processes) -> int:
    dataset = _load_in_turn(config, processes)
    prepared = prepare(config, dataset)
    config = prepared.config
    if config.run.start is not None:
        start_from(config.run.start, config, prepared.model, prepared.guide)
    trainer = prepared.trainer(processes=processes)
    if config.run.resume is not None:
        restore(trainer, config.run.resume, dataset)
    if processes.rank > 0:
        return _take_part(prepared, trainer)

    # Nothing is written before all inputs are checked.
    check_logs(config.run.log)
    if config.run.report:
        check_packages()
    notes = resume_notes(config, processes)
    if processes.count > 1:
        notes.append(f"{processes.count} processes share the rows of every batch")
    quality = prepared.quality
    if quality is not None:
        notes.append(quality_note(quality, config.training.metrics_every))
    folder = open_folder(config, dataset, processes)
    if quality is not None:
        quality.reference.path = folder.features
    print("\n".join(opening_lines(config, dataset, folder.path, notes)), flush=True)
    try:
        return _fill(folder, prepared, trainer)
    except StorageError as error:
        raise StorageError(f"{error} Then continue with --resume {folder.path}.") from None


def _load_in_turn(config: Config, processes: Processes) -> DataSet:
    """Load the data in the first process before the others, so that files are downloaded once."""
    turn = torch.zeros(())
    if processes.rank > 0:
        processes.sum(turn)
    dataset = load_data(config)
    if processes.rank == 0:
        processes.sum(turn)
    return dataset


def _take_part(prepared: Prepared, trainer: Trainer) -> int:
    """Train and evaluate in a process other than the first, without writing; return the exit status."""
    signals = StopOnSignal(trainer.processes)
    trainer.callbacks = (signals,)
    trainer.run()
    if signals.received is not None:
        return 128 + signals.received
    try:
        with interruptible(trainer.processes):
            _evaluate(prepared, trainer.processes)
    except Interrupted as stop:
        return 128 + stop.signal
    return 0


def _evaluate(prepared: Prepared, processes: Processes) -> Evaluation:
    config, dataset, model, guide = prepared.config, prepared.dataset, prepared.model, prepared.guide
    extent = extent_of(config.run.evaluate, dataset, model, guide)
    return evaluate(extent, config, dataset, model, guide, processes, prepared.quality)


def _fill(folder: RunFolder, prepared: Prepared, trainer: Trainer) -> int:
    """Train, and write all files of a run; return the exit status."""
    config, dataset = prepared.config, prepared.dataset
    signals, checkpoints = StopOnSignal(trainer.processes), Checkpoints(folder, config.run.checkpoint_seconds)
    trainer.callbacks = (ProgressBar(), signals, checkpoints, *logs(config.run.log, folder))
    result = _run(trainer, checkpoints)
    if signals.received is not None:
        return _interrupted(signals.received, folder)

    save_weights(folder.weights, prepared.model, prepared.guide)
    write_summary(folder, config, dataset, Evaluation(Extent("none")), result)
    try:
        with interruptible(trainer.processes):
            _close(folder, prepared, trainer.processes, result)
    except Interrupted as stop:
        print(f"Stopped by {stop.signal.name} while evaluating. {_how_to_evaluate(folder)}", flush=True)
        return 128 + stop.signal
    except LostProcessError as error:
        raise LostProcessError(f"{error} {_how_to_evaluate(folder)}") from None
    return 0


def _close(folder: RunFolder, prepared: Prepared, processes: Processes, result: FitResult) -> None:
    """Evaluate, write and print the numbers, then draw, so that a failing figure does not affect the numbers."""
    config, dataset = prepared.config, prepared.dataset
    evaluation = _evaluate(prepared, processes)
    write_summary(folder, config, dataset, evaluation, result)
    print(closing_table(config, dataset, evaluation, result, folder.path), flush=True)
    if evaluation.extent.kind == "none":
        print(_how_to_evaluate(folder))
    else:
        if evaluation.extent.kind == "quick":
            print(f"All of it: {_full_evaluation(folder)}", flush=True)
        _draw(folder, prepared, result, evaluation)
    if config.run.report:
        print(_report(folder, prepared, evaluation), flush=True)


def _report(folder: RunFolder, prepared: Prepared, evaluation: Evaluation) -> str:
    """Write the report and return a note on it, also if it cannot be written."""
    from pyro_vae.experiment.report.open_run import report_of_programs  # imports matplotlib and Bokeh

    try:
        programs = prepared.model, prepared.guide
        path = report_of_programs(folder, *programs, prepared.config, prepared.dataset, evaluation.scores)
    except Exception as error:
        return f"note: {folder.report.name} could not be written: {' '.join(str(error).split()).rstrip('.')}."
    return f"report in {path}"


def _draw(folder: RunFolder, prepared: Prepared, result: FitResult, evaluation: Evaluation) -> None:
    config, dataset = prepared.config, prepared.dataset
    from pyro_vae.experiment.figures import write_figures  # imports matplotlib

    programs = prepared.model, prepared.guide
    notes = write_figures(
        folder.figures,
        *programs,
        dataset,
        result.history,
        best_epoch=result.best_epoch,
        scores=evaluation.scores,
        sample_from=config.run.sample_from,
        error=trained_error(config),
        progress=True,
    )
    if prepared.quality is not None:
        about = result.history, result.best_epoch, dataset.name
        notes += write_quality_figure(folder.figures, prepared.quality, *about)
    for note in notes:
        print(f"note: {note}")


def _how_to_evaluate(folder: RunFolder) -> str:
    return (
        f"The trained run is kept in {folder.path}. Score its test rows with: {command('evaluate', folder.path)}, or "
        f"evaluate it with: {_full_evaluation(folder)}"
    )


def _full_evaluation(folder: RunFolder) -> str:
    return command("train", "--resume", folder.path, "--evaluate", "full")


def _run(trainer: Trainer, checkpoints: Checkpoints) -> FitResult:
    """Train, and write a checkpoint however training ends."""
    try:
        result = trainer.run()
        checkpoints.save(trainer)
    except StorageError:
        raise
    except (InputError, NonFiniteLossError):  # from a metric, or from the loss
        checkpoints.save(trainer)
        raise
    return result


def _interrupted(received: signal.Signals, folder: RunFolder) -> int:
    again = command("train", "--resume", folder.path)
    print(f"Stopped by {received.name} and saved. Continue with: {again}", flush=True)
    return 128 + received
