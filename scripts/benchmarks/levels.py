"""Imputation of levels in tables of mixed columns: the share of hidden cells that each method imputes correctly."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks._names import ByName
from benchmarks._report import Options, machine, markdown, mean_and_error, write
from benchmarks._tables import MIXED, Array, mixed
from pyro_vae.data.columns import Column

Method = Callable[[Array, Sequence[Column]], Array]
"""Function from stored rows with NaN, shape (N, D), and their columns to completed rows."""


def _most_frequent(rows: Array, columns: Sequence[Column]) -> Array:
    completed = rows.copy()
    for j, column in enumerate(columns):
        if column.levels:
            seen = rows[~np.isnan(rows[:, j]), j]
            completed[np.isnan(rows[:, j]), j] = np.bincount(seen.astype(int)).argmax()
    return completed


def _forest(rows: Array, columns: Sequence[Column]) -> Array:
    """Return the levels predicted by a random forest for each column from all others, including their NaN."""
    from sklearn.ensemble import RandomForestClassifier

    completed = rows.copy()
    for j, column in enumerate(columns):
        missing, others = np.isnan(rows[:, j]), np.delete(rows, j, axis=1)
        if column.levels and missing.any():
            forest = RandomForestClassifier(random_state=0).fit(others[~missing], rows[~missing, j])
            completed[missing, j] = forest.predict(others[missing])
    return completed


def _vae(rows: Array, columns: Sequence[Column]) -> Array:
    from pyro_vae import VAE

    kinds = [column.kind for column in columns]
    vae = VAE(
        10, likelihood="table", kinds=kinds, objective="iwae", num_particles=20, hidden=(128,), random_state=0
    )
    return np.asarray(vae.fit(rows).impute(rows))


METHODS: ByName[Method] = ByName({"most-frequent": _most_frequent, "forest": _forest, "vae": _vae})
"""Methods by name."""


@dataclass(frozen=True)
class Levels(Options):
    """Accuracy of imputed levels in hidden cells; the same rows are fitted and completed."""

    datasets: tuple[str, ...] = tuple(MIXED)
    """Tables of mixed columns."""
    methods: tuple[str, ...] = tuple(METHODS)
    """Methods."""
    masks: int = 3
    """Number of masks, with the seeds 0, 1, ..."""
    share: float = 0.3
    """Share of observed cells that are hidden, completely at random."""
    max_rows: int = 2000
    """Largest number of rows, evenly spaced in the file."""

    def run(self) -> None:
        """Impute, print and write."""
        found = {name: self._accuracies(*mixed(name, self.max_rows)) for name in self.datasets}
        header = ["table", *self.methods]
        rows = [[name, *(mean_and_error(found[name][method]) for method in self.methods)] for name in found]
        text = (
            f"Accuracy of hidden cells with levels, {self.share:.0%} of all cells hidden, at most {self.max_rows} "
            f"rows; mean and standard error over {self.masks} masks; {machine(self)}\n\n"
            + markdown(header, rows)
        )
        values = {"share": self.share, "tables": {"": [header, *rows]}, "accuracy": found}
        write(self.out, "levels", text, values)

    def _accuracies(self, x: Array, columns: Sequence[Column]) -> dict[str, list[float]]:
        with_levels = np.array([bool(column.levels) for column in columns])
        found: dict[str, list[float]] = {method: [] for method in self.methods}
        for seed in range(self.masks):
            hidden = (np.random.default_rng(seed).random(x.shape) < self.share) & ~np.isnan(x)
            for method in self.methods:
                completed = METHODS[method](np.where(hidden, np.nan, x), columns)
                found[method].append(float((completed == x)[hidden & with_levels].mean()))
        return found
