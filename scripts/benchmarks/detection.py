"""Detection of labelled anomalies: AUROC of each method on the same halves of a table."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks._names import ByName
from benchmarks._report import Options, machine, markdown, mean_and_error, write
from benchmarks._tables import LABELLED, Array, labelled


def _forest(seed: int) -> Any:
    from sklearn.ensemble import IsolationForest

    return IsolationForest(random_state=seed)


def _outlier_factor(seed: int) -> Any:
    from sklearn.neighbors import LocalOutlierFactor

    return LocalOutlierFactor(novelty=True)


def _baseline(name: str, seed: int, **settings: Any) -> Any:
    from pyro_vae import baselines

    return getattr(baselines, name)(random_state=seed, **settings)


class _Autoencoders:
    """Mean of the ELBO over fits of `VAE` with a fixed scale of the noise.

    The scale is the geometric mean of those of the columns, which bounds the density where a column repeats a value.
    Columns with two values become 0 and 1, the others are standardized.
    """

    FITS = 3

    def __init__(self, seed: int) -> None:
        self.seeds = range(self.FITS * seed, self.FITS * (seed + 1))

    def fit(self, x: Array) -> _Autoencoders:
        two = [column for column, values in enumerate(x.T) if len(np.unique(values)) <= 2]
        self.fits = [self._pipeline(two, seed).fit(x) for seed in self.seeds]
        return self

    def _pipeline(self, two: list[int], seed: int) -> Any:
        from sklearn.compose import ColumnTransformer
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import MinMaxScaler

        from pyro_vae import VAE

        scaled = ColumnTransformer([("two values", MinMaxScaler(), two)], remainder="passthrough")
        return make_pipeline(scaled, VAE(likelihood="gaussian-fixed", estimate="elbo", random_state=seed))

    def score_samples(self, x: Array) -> Array:
        return np.mean([fit.score_samples(x) for fit in self.fits], axis=0)


METHODS: ByName[Callable[[int], Any]] = ByName(
    {
        "isolation-forest": _forest,
        "outlier-factor": _outlier_factor,
        "factor-analysis": lambda seed: _baseline("FactorAnalysis", seed, n_init=1),
        "mixture": lambda seed: _baseline("MixtureOfPPCA", seed, n_clusters=10, noise_floor=1e-3),
        "vae": _Autoencoders,
    }
)
"""Functions from a seed to an estimator, by name; `score_samples` is larger for normal rows."""


@dataclass(frozen=True)
class Detection(Options):
    """AUROC and average precision on half of the rows, after a fit to the other half, which also standardizes both."""

    datasets: tuple[str, ...] = LABELLED
    """Labelled tables."""
    methods: tuple[str, ...] = tuple(METHODS)
    """Detectors, at their defaults."""
    seeds: int = 5
    """Number of divisions into halves."""
    fitted_to: Literal["normal", "all"] = "normal"
    """Whether anomalies of the first half are excluded from the fit."""
    max_rows: int | None = None
    """Number of rows drawn from a table; all if not given."""

    def run(self) -> None:
        """Fit, score, print and write."""
        values = {name: self._areas(*labelled(name)) for name in self.datasets}
        header = ["table", *self.methods]
        rows = [[name, *(_described(values[name][method]) for method in self.methods)] for name in values]
        text = (
            f"AUROC (average precision), mean over {self.seeds} halves, fitted to {self.fitted_to} rows of the other "
            f"half; ± standard error of AUROC; {machine(self)}\n\n" + markdown(header, rows)
        )
        tables = {self.fitted_to: [header, *rows]}
        write(self.out, "detection", text, {"tables": tables, "auroc_and_average_precision": values})

    def _areas(self, x: Array, strange: NDArray[np.bool_]) -> dict[str, list[tuple[float, float]]]:
        from pyro_vae.evaluate.anomalies import detection

        found: dict[str, list[tuple[float, float]]] = {method: [] for method in self.methods}
        for seed in range(self.seeds):
            order = np.random.default_rng(seed).permutation(len(x))[: self.max_rows]
            train, test = np.array_split(order, 2)
            train = train[~strange[train]] if self.fitted_to == "normal" else train
            mean, std = x[train].mean(axis=0), x[train].std(axis=0)
            std[x[train].max(axis=0) == x[train].min(axis=0)] = 1.0
            for method in self.methods:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    estimator = METHODS[method](seed).fit((x[train] - mean) / std)
                score = -np.asarray(estimator.score_samples((x[test] - mean) / std))
                each = detection(torch.from_numpy(score), strange[test])
                found[method].append((each.auroc, each.average_precision))
        return found


def _described(values: list[tuple[float, float]]) -> str:
    areas, precisions = zip(*values, strict=True)
    return f"{mean_and_error(areas)} ({np.mean(precisions):.3f})"
