"""The report of a finished run, from its folder."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from pyro_vae.data import DataSet
from pyro_vae.evaluate import LogLikelihood, log_likelihood
from pyro_vae.evenly_spaced import evenly_spaced_rows
from pyro_vae.experiment.autoencoder import trained_error
from pyro_vae.experiment.config import Config
from pyro_vae.experiment.context_figures import with_classes_filled
from pyro_vae.experiment.load_data import load_data
from pyro_vae.experiment.load_run import load_run
from pyro_vae.experiment.num_products import num_products
from pyro_vae.experiment.provenance import check_same_data
from pyro_vae.experiment.report.write import write_report
from pyro_vae.experiment.run_folder import RunFolder
from pyro_vae.experiment.scoring.scores_csv import ScoreFile
from pyro_vae.experiment.shown import Shown
from pyro_vae.guides import AmortizedGuide
from pyro_vae.models.generative import GenerativeModel

__all__ = ["report_of_programs", "report_of_run"]

NUM_SAMPLES = 100
"""Samples of z for each row without a stored log p(x)."""
LEAST_ROWS, MOST_ROWS = 50, 500
"""Maximum number of rows to score then, if `LARGEST_COST` allows it."""
LARGEST_COST = 1e11
"""Multiply-adds: about a minute on one core."""


def report_of_run(path: str | Path, out: Path | None = None) -> Path:
    """Write the report of a finished run and return its path.

    log p(x) of the test rows is taken from `pyro-vae evaluate` if it has scored them with these weights; otherwise it
    is estimated for fewer rows.

    Args:
        path: The run's folder.
        out: The file to write; by default `report.html` in the run folder.

    Raises:
        InputError: If the folder contains no run, its data cannot be read or has changed, or the file cannot be
            written.
    """
    run, folder = load_run(path), RunFolder(Path(path).expanduser())
    dataset = load_data(run.config)
    check_same_data(dataset, run.info, path)
    scores = None if trained_error(run.config) is not None else _stored(folder, dataset)
    return report_of_programs(folder, run.model, run.guide, run.config, dataset, scores, out)


def report_of_programs(
    folder: RunFolder,
    model: GenerativeModel,
    guide: AmortizedGuide,
    config: Config,
    dataset: DataSet,
    scores: LogLikelihood | None,
    out: Path | None = None,
) -> Path:
    """Write the report of trained programs and return its path.

    Args:
        folder: The run folder.
        model: The generative program, in evaluation mode.
        guide: The inference program.
        config: The resolved configuration.
        dataset: The data set that they were trained on.
        scores: log p(x) of evenly spaced test rows; estimated for some of them if None.
        out: The file to write; by default `report.html` in the run folder.
    """
    error = trained_error(config)
    if error is None and scores is None:
        scores = _estimated(model, guide, dataset)
    filled = with_classes_filled(dataset, guide)
    return write_report(
        folder, Shown(model, guide, filled, scores, config.run.sample_from, error), config, out
    )


def _stored(folder: RunFolder, dataset: DataSet) -> LogLikelihood | None:
    """Return the scores of all test rows by `pyro-vae evaluate`; None if there are none for these weights."""
    try:
        facts = json.loads((folder.path / "evaluation.json").read_text(encoding="utf-8"))["facts"]
        same = facts["weights_sha256"] == hashlib.sha256(folder.weights.read_bytes()).hexdigest()
        num_samples = int(facts["settings"]["num_samples"])
        same = same and facts["split"] == dataset.test.name
    except (OSError, ValueError, KeyError, TypeError):
        return None
    columns = ScoreFile(folder.path / "scores.csv", dataset.data_dim, dataset.preprocessing).read()
    if not same or columns is None or columns.shape[1] != len(dataset.test):
        return None
    return LogLikelihood.from_columns(columns, num_samples)


def _estimated(model: GenerativeModel, guide: AmortizedGuide, dataset: DataSet) -> LogLikelihood:
    cost = NUM_SAMPLES * num_products(dataset, model, guide)
    count = int(min(max(LARGEST_COST / cost, LEAST_ROWS), MOST_ROWS))
    rows = dataset.test.select(evenly_spaced_rows(len(dataset.test), count))
    return log_likelihood(model, guide, rows, NUM_SAMPLES)
