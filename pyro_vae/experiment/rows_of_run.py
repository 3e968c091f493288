"""The rows to which a trained run is applied: its test rows, those of a named data set, or those of a file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from pyro_vae._checks import check
from pyro_vae.data import DataSet, Split
from pyro_vae.data.named_datasets import DATASETS
from pyro_vae.data.new_rows import rows_like
from pyro_vae.data.row_format import RowFormat
from pyro_vae.experiment.load_data import load_data
from pyro_vae.experiment.load_run import Run
from pyro_vae.experiment.provenance import check_same_data
from pyro_vae.likelihoods.registry import LIKELIHOODS

__all__ = ["RunRows", "rows_of_run", "training_data"]


class RunRows(NamedTuple):
    """Rows to which a run is applied."""

    row_format: RowFormat
    """Format of the training rows."""
    split: Split
    notes: tuple[str, ...] = ()
    """Notes on the file."""


def rows_of_run(run: Run, folder: Path, data: Path | None) -> RunRows:
    """Return the run's test rows, or those of a file, or the test rows of another named data set.

    Rows of a file only need the run folder, except for a run of version 0.1.0, whose folder does not describe its rows.

    Args:
        run: The run.
        folder: Its folder, for messages.
        data: A file or folder, or a name of `DATASETS`; the run's test rows if None.

    Raises:
        InputError: If the rows cannot be read or do not match, or the run's own data has changed.
    """
    row_format = run.row_format
    if data is not None and str(data) == run.config.data.dataset and not data.exists():
        data = None
    if data is None or row_format is None:
        dataset = training_data(run, folder)
        row_format = RowFormat.of(dataset)
        if data is None:
            return RunRows(row_format, dataset.test)
    if str(data) in DATASETS and not data.exists():
        return RunRows(row_format, _named(run, row_format, str(data)))
    return RunRows(row_format, *rows_like(data, row_format, LIKELIHOODS[run.config.model.likelihood].kind))


def training_data(run: Run, folder: Path) -> DataSet:
    """Return the data set that a run was trained on.

    Raises:
        InputError: If it cannot be read, or has changed.
    """
    dataset = load_data(run.config)
    check_same_data(dataset, run.info, folder, "give a file of rows by --data")
    return dataset


def _named(run: Run, row_format: RowFormat, name: str) -> Split:
    dataset = load_data(replace(run.config, data=replace(run.config.data, dataset=name)))
    theirs = (dataset.whole or dataset).data_shape
    check(
        theirs == row_format.data_shape and dataset.preprocessing == row_format.preprocessing,
        f"Expected rows of shape {row_format.data_shape}, {row_format.preprocessing.description}, as {row_format.name} "
        f"has, which the run was trained on; {name} has {theirs}, {dataset.preprocessing.description}.",
    )
    return dataset.test
