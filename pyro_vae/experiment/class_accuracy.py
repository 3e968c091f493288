"""Classification accuracy of a run on each split, in its closing table and in a scoring."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pyro_vae.data import DataSet
from pyro_vae.statistics import mean_and_se
from pyro_vae.training import Accuracy

__all__ = ["accuracy", "accuracy_line", "accuracy_of"]


def accuracy_of(guide: Any, dataset: DataSet) -> dict[str, dict[str, float]]:
    """Return "mean", "se" and "num_examples" of the validation and test rows by split; empty without a classifier.

    Training rows are left out: some of them were trained with their label.
    """
    if not hasattr(guide, "classify"):
        return {}
    return {split.name: accuracy(guide, split) for split in (dataset.validation, dataset.test)}


def accuracy(guide: Any, split: Any) -> dict[str, float]:
    """Return "mean", "se" and "num_examples" of rows with labels."""
    correct = Accuracy(split).correct(guide)
    mean, se = mean_and_se(correct)
    return {"mean": mean, "se": se, "num_examples": len(correct)}


def accuracy_line(found: Mapping[str, Mapping[str, float]]) -> str:
    """Return the line of a closing table; empty if nothing was measured."""
    text = ", ".join(f"{name} {one['mean']:.2%} ± {one['se']:.2%}" for name, one in found.items())
    return f"accuracy of the most probable class: {text}" if text else ""
