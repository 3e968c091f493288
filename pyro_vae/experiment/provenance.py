"""Provenance of reported numbers: data set, split, unit, preprocessing."""

from __future__ import annotations

from typing import Any

from pyro_vae.data import DataSet, Split
from pyro_vae.experiment.config import Config

__all__ = ["data_notes", "split_facts", "test_facts"]


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


def data_notes(config: Config, dataset: DataSet) -> list[str]:
    """Return notes on unusual properties of the data and of the settings."""
    latents, columns = config.model.sizes[0], dataset.data_dim
    batch, rows = config.training.batch_size, len(dataset.train)
    odd = {
        f"z has {latents} dimensions, more than the {columns} of x.": latents > columns
        and config.model.latent == "gaussian",
        f"A batch of {batch} holds all {rows} training rows: an epoch is one step.": batch > rows,
    }
    return [*dataset.notes, *(sentence for sentence, holds in odd.items() if holds)]
