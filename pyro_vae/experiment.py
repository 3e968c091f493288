"""The main job: from a configuration to a finished run folder."""

from __future__ import annotations

import signal
import sys
from typing import Any, NamedTuple

import torch

from pyro_vae._checks import NonFiniteLossError
from pyro_vae.building import build, fit_settings, resolve, starting_rows
from pyro_vae.checkpoint import StorageError, save_weights, write_json
from pyro_vae.comparison import Entry, linear_baselines, score_some
from pyro_vae.config import Config
from pyro_vae.data import DataSet, Split
from pyro_vae.likelihoods import LIKELIHOODS
from pyro_vae.objectives import ElboEstimate, estimate_elbo
from pyro_vae.processes import Processes, started_processes
from pyro_vae.report import closing_table, opening_lines, test_facts
from pyro_vae.runs import (
    Checkpoints,
    RunFolder,
    StopOnSignal,
    load_data,
    open_folder,
    restore,
    resume_notes,
    start_from,
)
from pyro_vae.runs.figures import write_figures
from pyro_vae.training import FitResult, ProgressBar, Trainer, make_trainer, resolve_device

__all__ = ["train"]

EVALUATION_PARTICLES = 10
"""Samples of z for each row in the final ELBO: its Monte Carlo error is then small beside that from rows."""


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
    _evaluate(config, dataset, model, guide, trainer.processes)
    return 0


class _Evaluation(NamedTuple):
    """What the weights of the best epoch come to."""

    estimates: dict[str, ElboEstimate]
    """The ELBO of every row, by the split's name."""
    likelihood: dict[str, Any]
    """log p(x) by importance sampling; see `score_some`."""
    baselines: dict[str, Entry | str]
    """What linear models come to on the same rows."""


def _evaluate(config: Config, dataset: DataSet, model: Any, guide: Any, processes: Processes) -> _Evaluation:
    device = torch.device(config.training.device)
    estimates = {
        split.name: _estimate(model, guide, split, device, processes)
        for split in (dataset.train, dataset.validation, dataset.test)
    }
    _check_finite(estimates)
    continuous = LIKELIHOODS[config.model.likelihood].kind == "continuous"
    baselines = linear_baselines(dataset, config.model.latent_dim, processes) if continuous else {}
    return _Evaluation(estimates, score_some(model, guide, dataset.test, device, processes), baselines)


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
    evaluation = _evaluate(config, dataset, model, guide, trainer.processes)
    write_json(folder.summary, _summary(config, dataset, evaluation, result))
    write_figures(folder.figures, model, guide, dataset, result.history)
    print(closing_table(config, dataset, *evaluation, result, folder.path))
    return 0


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


def _estimate(
    model: Any, guide: Any, split: Split, device: torch.device, processes: Processes
) -> ElboEstimate:
    processes.check_rows(len(split))
    blocks = ((block,) for block in split.share(processes).blocks(device=device))
    own = estimate_elbo(model, guide, blocks, EVALUATION_PARTICLES, seed=processes.seed(0))
    return ElboEstimate(*(processes.gather(part) for part in (own.reconstruction, own.kl)))


def _check_finite(estimates: dict[str, ElboEstimate]) -> None:
    bad = {name: int((~estimate.value.isfinite()).sum()) for name, estimate in estimates.items()}
    told = ", ".join(f"{count} {name} rows" for name, count in bad.items() if count)
    if told:
        raise NonFiniteLossError(
            f"The ELBO at the best epoch's weights is not finite for {told}. The weights are kept. "
            "Look for values in those rows that lie far outside those of the other training rows."
        )


def _summary(config: Config, dataset: DataSet, evaluation: _Evaluation, result: FitResult) -> dict[str, Any]:
    test = evaluation.estimates["test"]
    return test_facts(dataset) | {
        "likelihood": config.model.likelihood,
        "guide": config.model.guide,
        "prior": config.model.prior,
        "objective": config.training.objective,
        "seed": config.training.seed,
        "elbo": {"mean": test.mean, "se": test.se},
        "log_likelihood": evaluation.likelihood,
        "baselines": {
            key: {"not_fitted": entry}
            if isinstance(entry, str)
            else dict(zip(("mean", "se"), entry.test, strict=True))
            for key, entry in evaluation.baselines.items()
        },
        "train_seconds": round(result.seconds, 3),
        "compile_seconds": round(result.compile_seconds, 3),
        "epochs": len(result.history),
        "best_epoch": result.best_epoch,
        "kept_by": result.kept_by,
        "stopped": result.stopped,
    }
