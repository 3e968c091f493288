"""Table of several seeds: a line for each run, then mean, standard deviation and standard error over seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from pyro_vae.experiment.text_table import format_table, nats
from pyro_vae.statistics import mean_and_se

__all__ = ["numbers_of", "over_seeds", "seeds_table"]

Summaries = Mapping[int, Mapping[str, Any]]
"""`summary.json` by seed."""


def numbers_of(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Return the numbers of one run that are compared over seeds; None for missing ones."""
    return {
        "elbo": (summary["elbo"] or {}).get("mean"),
        "log_likelihood": (summary["log_likelihood"] or {}).get("mean"),
        "reconstruction_error": summary.get("reconstruction_error", {}).get("mean"),
        "metrics": dict(summary.get("metrics") or {}) | _test_accuracy(summary),
        "best_epoch": summary["best_epoch"],
    }


def _test_accuracy(summary: Mapping[str, Any]) -> dict[str, float]:
    accuracy = (summary.get("accuracy") or {}).get("test")
    return {"test accuracy": accuracy["mean"]} if accuracy else {}


def over_seeds(found: Summaries) -> dict[str, Any]:
    """Return mean, standard deviation and standard error over seeds of each number that all runs have.

    Returns:
        Statistics by "elbo" and "log_likelihood" ("reconstruction_error" of an autoencoder), and by "metrics" those of
        each metric.
    """
    columns = [column for column in _columns(found) if None not in column.values]
    metrics = {column.name: column.moments() for column in columns if not column.in_nats}
    return {column.name: column.moments() for column in columns if column.in_nats} | {"metrics": metrics}


class _Column(NamedTuple):
    """A number of each run.

    Args:
        name: Its name in files.
        title: Its name in the table.
        values: Values in the order of the runs; None if a run has none.
        in_nats: Whether it is in nats per example, and not a metric.
    """

    name: str
    title: str
    values: list[float | None]
    in_nats: bool

    def moments(self) -> dict[str, Any]:
        """Return the mean, the standard deviation (normalised by n - 1) and the standard error of the mean."""
        if None in self.values:
            return {}
        mean, se = mean_and_se(self.values)
        spread = float(np.std(np.array(self.values), ddof=1)) if len(self.values) > 1 else math.nan
        return {"mean": mean, "std": spread, "se": se, "num_seeds": len(self.values)}

    def cell(self, value: float | None, decimals: int = 2) -> str:
        """Return a value as text of the table."""
        if value is None or not math.isfinite(value):
            return "-"
        return nats(value, decimals) if self.in_nats else f"{value:.6g}"


def _columns(found: Summaries) -> list[_Column]:
    """Return the columns that at least one run has."""
    runs = [numbers_of(summary) for summary in found.values()]
    titles = {
        "elbo": "test ELBO",
        "log_likelihood": "log p(x)",
        "reconstruction_error": "test error",
    }
    columns = [_Column(name, title, [run[name] for run in runs], True) for name, title in titles.items()]
    metrics = dict.fromkeys(name for run in runs for name in run["metrics"])
    columns += [_Column(name, name, [run["metrics"].get(name) for run in runs], False) for name in metrics]
    return [column for column in columns if any(value is not None for value in column.values)]


def seeds_table(found: Summaries) -> str:
    """Return the table of several runs that differ only by their seed.

    Args:
        found: Summaries by seed, at least one.
    """
    columns = _columns(found)
    header = ["seed", "epoch kept", *(column.title for column in columns)]
    rows = [
        [str(seed), str(summary["best_epoch"]), *(column.cell(column.values[place]) for column in columns)]
        for place, (seed, summary) in enumerate(found.items())
    ]
    over = {"mean": "mean", "std": "standard deviation", "se": "standard error of the mean"}
    rows += [
        [title, "", *(column.cell(column.moments().get(key), 3) for column in columns)]
        for key, title in over.items()
    ]
    return "\n".join(["", _title(found), format_table([header, *rows]), *_notes(found, columns)])


def _title(found: Summaries) -> str:
    one = next(iter(found.values()))
    kind = "autoencoder" if one.get("guide") == "point" else f"{one['likelihood']} likelihood"
    return (
        f"{one['dataset']}, {one['num_examples']} {one['split']} rows, {one['preprocessing']}; {kind}, "
        f"{len(found)} seed{'s' * (len(found) > 1)}; {one['unit']}"
    )


def _notes(found: Summaries, columns: Sequence[_Column]) -> list[str]:
    notes = ["All seeds are measured on the same rows: the spread is that of training, not that of new rows."]
    likelihood = next((one["log_likelihood"] for one in found.values() if one["log_likelihood"]), None)
    if likelihood is not None:
        notes.append(
            f"log p(x) of {likelihood['num_examples']} rows by importance sampling, K = {likelihood['num_samples']}."
        )
    if not all(column.in_nats for column in columns):
        notes.append("Metrics are those of the kept epoch, in units of their own.")
    return notes
