"""Provenance of reported numbers: data set, split, unit, preprocessing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pyro_vae._checks import check
from pyro_vae.data import DataSet, Split
from pyro_vae.data.columns import Column
from pyro_vae.data.row_format import RowFormat
from pyro_vae.experiment.config import Config

__all__ = ["check_same_data", "data_notes", "split_facts", "test_facts"]


def test_facts(dataset: DataSet) -> dict[str, Any]:
    """Return the provenance of numbers of the test split: data set, rows, unit and preprocessing."""
    return split_facts(dataset.name, dataset.test)


def split_facts(dataset: str, split: Split) -> dict[str, Any]:
    """Return the provenance of numbers of a split.

    Args:
        dataset: Name of the data set that the programs were trained on.
        split: The rows.
    """
    return {
        "dataset": dataset,
        "split": split.name,
        "num_examples": len(split),
        "unit": "nats per example",
        "preprocessing": split.description,
    }


def check_same_data(dataset: DataSet, info: Mapping[str, Any], run: str | Path, otherwise: str = "") -> None:
    """Raise `InputError` if a data set is not the one that a run was trained on, or is read as other rows.

    Args:
        dataset: The data set as it is now.
        info: Entries of config.json of the run.
        run: The run folder, for the message.
        otherwise: Alternative to restoring the data, a clause for the message.
    """
    before = info["data"]["sha256"]
    check(
        before == dataset.sha256,
        f"Expected the data that {run} was trained on; {dataset.name} has changed since (SHA-256 "
        f"{dataset.sha256[:12]}, was {before[:12]}). Restore the data{', or ' * bool(otherwise)}{otherwise}.",
    )
    if "rows" in info:
        _check_same_reading(dataset, RowFormat.from_json(info["rows"]), run, otherwise)


def _check_same_reading(
    dataset: DataSet, trained_on: RowFormat, run: str | Path, otherwise: str = ""
) -> None:
    """Raise `InputError` if this version reads the same file as other rows x than the version that trained a run."""
    now = dataset.whole or dataset
    check(
        now.preprocessing == trained_on.preprocessing and _kinds(now.columns) == _kinds(trained_on.columns),
        f"Expected {dataset.name} to be read as when {run} was trained ({trained_on.preprocessing.description}); this "
        f"version of pyro_vae reads other values or kinds of columns ({now.preprocessing.description}). Train a new "
        f"run{', or ' * bool(otherwise)}{otherwise}.",
    )


def _kinds(columns: Sequence[Column] | None) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(column.name, column.kind, tuple(column.levels)) for column in columns or ()]


def data_notes(config: Config, dataset: DataSet) -> list[str]:
    """Return notes on unusual properties of the data and of the settings."""
    latents, columns = config.model.sizes[0], dataset.data_dim
    batch, count, rows = config.training.batch_size, config.training.accumulate, len(dataset.train)
    step = f"A batch of {batch} holds" if count == 1 else f"{count} batches of {batch} hold"
    odd = {
        f"z has {latents} dimensions, more than the {columns} of x.": latents > columns
        and config.model.latent == "gaussian",
        f"{step} all {rows} training rows: an epoch is one step.": count * batch > rows,
    }
    return [*dataset.notes, *(sentence for sentence, holds in odd.items() if holds)]
