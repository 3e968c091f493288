"""`summary.json`: the numbers of a finished run, and their provenance."""

from __future__ import annotations

from typing import Any

from pyro_vae.data import DataSet
from pyro_vae.data.units import bits_per_dim
from pyro_vae.experiment.autoencoder import unit_of_error
from pyro_vae.experiment.closing_table import closing
from pyro_vae.experiment.config import Config
from pyro_vae.experiment.evaluation import Evaluation
from pyro_vae.experiment.provenance import test_facts
from pyro_vae.experiment.run_folder import RunFolder
from pyro_vae.storage import write_json
from pyro_vae.training import FitResult

__all__ = ["summary", "write_summary"]


def write_summary(
    folder: RunFolder, config: Config, dataset: DataSet, evaluation: Evaluation, result: FitResult
) -> None:
    """Write `summary.json`, atomically; numbers that are not finite become null.

    Args:
        folder: Folder of the run.
        config: Resolved.
        dataset: The data set of the training run.
        evaluation: Evaluation of the kept weights.
        result: Result of training.

    Raises:
        StorageError: If it cannot be written.
    """
    write_json(folder.summary, summary(config, dataset, evaluation, result))


def summary(config: Config, dataset: DataSet, evaluation: Evaluation, result: FitResult) -> dict[str, Any]:
    """Return the content of `summary.json` as plain values, in nats per example; metrics have their own units."""
    settings = {
        "likelihood": config.model.likelihood,
        "guide": config.model.guide,
        "prior": config.model.prior,
        **({"guide_saw": seen} if (seen := config.model.part("corrupt").seen()) else {}),
        "context": config.model.part("context").line(),
        "objective": config.training.objective,
        "seed": config.training.seed,
    }
    measured = evaluation.summary()
    for number in (measured["elbo"], measured["log_likelihood"], *measured["baselines"].values()):
        if number is not None and "mean" in number:
            number |= _in_bits(number["mean"], dataset)
    if result.metrics_note:
        measured["notes"] = [*measured["notes"], result.metrics_note]
    training = {
        "metrics": result.metrics,
        "train_seconds": round(result.seconds, 3),
        "compile_seconds": round(result.compile_seconds, 3),
        "epochs": len(result.history),
        "best_epoch": result.best_epoch,
        "kept_by": result.kept_by,
        "stopped": result.stopped,
    }
    facts = test_facts(dataset)
    if config.model.part("guide").is_point:
        facts["unit"] = unit_of_error(config, dataset)
    said = {"closing": closing(config, dataset, evaluation, result).summary()}
    return facts | settings | measured | training | said


def _in_bits(log_prob: float, dataset: DataSet) -> dict[str, float]:
    bits = bits_per_dim(log_prob, dataset.data_dim, dataset.preprocessing)
    return {} if bits is None else {"bits_per_dim": bits}
