"""Imputation of values missing completely at random: squared error and log p of each method on the same masks."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks._names import ByName
from benchmarks._report import Options, machine, markdown, mean_and_error, write
from benchmarks._tables import COMPLETE, Array

NOTEBOOK_SEED = 1234
"""Seed of the first mask, as in the notebook of Mattei & Frellsen (2019)."""


@dataclass(frozen=True)
class Completed:
    """The result of a method for rows with NaN.

    Args:
        values: The rows with all entries, shape (N, D).
        score: log p of the observed entries of each of N rows, in nats; None for a method without a density.
    """

    values: Array
    score: Callable[[Array], Array] | None = None


Method = Callable[[Array], Completed]


def _iterative(estimator: Any = None, **settings: Any) -> Method:
    def complete(x: Array) -> Completed:
        from sklearn.experimental import enable_iterative_imputer  # noqa: F401
        from sklearn.impute import IterativeImputer

        return Completed(IterativeImputer(estimator, random_state=0, **settings).fit_transform(x))

    return complete


def _forest(x: Array) -> Completed:
    from sklearn.ensemble import RandomForestRegressor

    return _iterative(RandomForestRegressor(n_estimators=100, random_state=0), max_iter=10)(x)


def _neighbours(x: Array) -> Completed:
    from sklearn.impute import KNNImputer

    return Completed(KNNImputer().fit_transform(x))


def _mean(x: Array) -> Completed:
    return Completed(np.where(np.isnan(x), np.nanmean(x, axis=0), x))


def _of_best_size(make: Callable[[int], Any]) -> Method:
    """Return imputation with the latent size that has the highest log p of a held-out fifth of the rows."""

    def complete(x: Array) -> Completed:
        held = np.random.default_rng(0).random(len(x)) < 0.2
        sizes = [q for q in (1, 2, 3, 5, 8) if q < x.shape[1] - 1]
        best = max(sizes, key=lambda q: make(q).fit(x[~held]).score(x[held]))
        fitted = make(best).fit(x)
        return Completed(fitted.impute(x), fitted.score_samples)

    return complete


def _baseline(name: str, **settings: Any) -> Method:
    from pyro_vae import baselines

    return _of_best_size(lambda q: getattr(baselines, name)(q, random_state=0, **settings))


def _vae(x: Array) -> Completed:
    """Return the mean of three autoencoders with 10 dimensions of z, 128 hidden units and K = 20."""
    from pyro_vae import VAE

    settings: dict[str, Any] = {
        "likelihood": "table",
        "objective": "iwae",
        "num_particles": 20,
        "num_samples": 500,
    }
    size = min(10, x.shape[1])
    fitted = [VAE(size, hidden=(128,), random_state=seed, **settings).fit(x) for seed in range(3)]

    def score(rows: Array) -> Array:
        from scipy.special import logsumexp

        return np.asarray(
            logsumexp([vae.score_samples(rows) for vae in fitted], axis=0) - np.log(len(fitted))
        )

    return Completed(np.mean([vae.impute(x) for vae in fitted], axis=0), score)


METHODS: ByName[Callable[[], Method]] = ByName(
    {
        "mean": lambda: _mean,
        "knn": lambda: _neighbours,
        "iterative": lambda: _iterative(max_iter=30),
        "forest": lambda: _forest,
        "ppca": lambda: _baseline("PPCAEM"),
        "factor-analysis": lambda: _baseline("FactorAnalysis", n_init=1),
        "mixture": lambda: _baseline("MixtureOfPPCA", n_clusters=5),
        "vae": lambda: _vae,
    }
)
"""Factories of functions from rows with NaN to completed rows, by name."""


def with_holes(x: Array, seed: int, share: float) -> Array:
    """Return rows with a share of their entries missing completely at random, drawn as in the notebook."""
    rng = np.random.RandomState(seed)
    holes = x.copy().ravel()
    holes[rng.permutation(x.size)[: int(np.floor(x.size * share))]] = np.nan
    return holes.reshape(x.shape)


@dataclass(frozen=True)
class Imputation(Options):
    """Squared error and log p of imputed entries; the same rows are fitted and completed, standardized by all values.

    The first seed gives the mask of the MIWAE notebook (Mattei & Frellsen 2019).
    """

    datasets: tuple[str, ...] = tuple(COMPLETE)
    """Tables without missing values."""
    methods: tuple[str, ...] = ("mean", "knn", "iterative", "ppca", "factor-analysis", "mixture", "vae")
    """Methods; forest is available too."""
    masks: int = 5
    """Number of masks, with seeds from 1234."""
    share: float = 0.5
    """Share of missing entries."""

    def run(self) -> None:
        """Impute, print and write."""
        found = {name: self._measures(COMPLETE[name]()) for name in self.datasets}
        about = (
            f"{self.share:.0%} missing completely at random; mean and standard error over {self.masks} masks; "
            f"{machine(self)}"
        )
        tables = {
            kind.replace("_", "-"): [
                ["table", *self.methods],
                *(
                    [name, *(mean_and_error(found[name][kind][method]) for method in self.methods)]
                    for name in found
                ),
            ]
            for kind in MEASURES
        }
        parts = [
            f"{title}; {about}\n\n{markdown(header, rows)}"
            for title, (header, *rows) in zip(MEASURES.values(), tables.values(), strict=True)
        ]
        values = {"share": self.share, "tables": tables, "measures": found}
        write(self.out, "imputation", "\n\n".join(parts), values)

    def _measures(self, x: Array) -> dict[str, dict[str, list[float]]]:
        x = (x - x.mean(axis=0)) / x.std(axis=0)
        measures: dict[str, dict[str, list[float]]] = {
            kind: {method: [] for method in self.methods} for kind in MEASURES
        }
        for mask in range(self.masks):
            holes = with_holes(x, NOTEBOOK_SEED + mask, self.share)
            for method in self.methods:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # about convergence, which other methods may not reach
                    completed = METHODS[method]()(holes)
                    for kind, value in measured(completed, x, holes).items():
                        measures[kind][method].append(value)
        return measures


MEASURES = {
    "squared_error": "Mean squared error of missing entries in standard deviations",
    "log_p": "log p(missing entries given the observed ones of their rows) in nats per missing entry, of "
    "standardized columns",
}
"""Descriptions of the measures, by name in the JSON file."""


def measured(completed: Completed, x: Array, holes: Array) -> dict[str, float]:
    """Return the measures of a method on one mask.

    `log p(x_mis | x_obs) = log p(x) - log p(x_obs)`, each estimated if log p is an estimate.
    """
    missing = np.isnan(holes)
    found = {"squared_error": float(np.mean((completed.values - x)[missing] ** 2))}
    if completed.score is not None:
        found["log_p"] = float(np.sum(completed.score(x) - completed.score(holes)) / missing.sum())
    return found
