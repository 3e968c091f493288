"""Imputation of values missing completely at random: squared error of each method on the same masks."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks._names import ByName
from benchmarks._report import Options, machine, markdown, write
from benchmarks._tables import COMPLETE, Array

NOTEBOOK_SEED = 1234
"""Of the first mask, as in the notebook of Mattei & Frellsen (2019)."""


def _iterative(estimator: Any = None, **settings: Any) -> Callable[[Array], Array]:
    def complete(x: Array) -> Array:
        from sklearn.experimental import enable_iterative_imputer  # noqa: F401
        from sklearn.impute import IterativeImputer

        return np.asarray(IterativeImputer(estimator, random_state=0, **settings).fit_transform(x))

    return complete


def _forest(x: Array) -> Array:
    from sklearn.ensemble import RandomForestRegressor

    return _iterative(RandomForestRegressor(n_estimators=100, random_state=0), max_iter=10)(x)


def _neighbours(x: Array) -> Array:
    from sklearn.impute import KNNImputer

    return np.asarray(KNNImputer().fit_transform(x))


def _mean(x: Array) -> Array:
    return np.where(np.isnan(x), np.nanmean(x, axis=0), x)


def _of_best_size(make: Callable[[int], Any]) -> Callable[[Array], Array]:
    """Return imputation by the latent size with the highest log p of a fifth of the rows, held out."""

    def complete(x: Array) -> Array:
        held = np.random.default_rng(0).random(len(x)) < 0.2
        sizes = [q for q in (1, 2, 3, 5, 8) if q < x.shape[1] - 1]
        best = max(sizes, key=lambda q: make(q).fit(x[~held]).score(x[held]))
        return np.asarray(make(best).fit(x).impute(x))

    return complete


def _baseline(name: str, **settings: Any) -> Callable[[Array], Array]:
    from pyro_vae import baselines

    return _of_best_size(lambda q: getattr(baselines, name)(q, random_state=0, **settings))


def _vae(x: Array) -> Array:
    """Return the mean of three autoencoders' imputations: 10 dimensions of z, 128 hidden units and K = 20."""
    from pyro_vae import VAE

    settings: dict[str, Any] = {
        "likelihood": "table",
        "objective": "iwae",
        "num_particles": 20,
        "num_samples": 500,
    }
    size = min(10, x.shape[1])
    fitted = [VAE(size, hidden=(128,), random_state=seed, **settings).fit(x) for seed in range(3)]
    return np.asarray(np.mean([vae.impute(x) for vae in fitted], axis=0))


METHODS: ByName[Callable[[], Callable[[Array], Array]]] = ByName(
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
"""By name, what makes a function from rows with NaN to completed rows."""


def with_holes(x: Array, seed: int, share: float) -> Array:
    """Return rows with that share of their entries missing completely at random, as the notebook draws them."""
    rng = np.random.RandomState(seed)
    holes = x.copy().ravel()
    holes[rng.permutation(x.size)[: int(np.floor(x.size * share))]] = np.nan
    return holes.reshape(x.shape)


@dataclass(frozen=True)
class Imputation(Options):
    """Mean squared error of imputed entries, rows fitted and completed at once, standardized by all of their values.

    The first seed gives the mask that the MIWAE notebook uses (Mattei & Frellsen 2019).
    """

    datasets: tuple[str, ...] = tuple(COMPLETE)
    """Tables without missing values."""
    methods: tuple[str, ...] = ("mean", "knn", "iterative", "ppca", "factor-analysis", "mixture", "vae")
    """What completes them; forest too."""
    masks: int = 5
    """Masks, of seeds from 1234 on."""
    share: float = 0.5
    """Of entries that are missing."""

    def run(self) -> None:
        """Impute, print, write."""
        errors = {name: self._errors(COMPLETE[name]()) for name in self.datasets}
        rows = [[name, *(_told(errors[name][method]) for method in self.methods)] for name in self.datasets]
        told = (
            f"Mean squared error of entries in standard deviations, {self.share:.0%} missing completely at random; "
            f"mean and standard error over {self.masks} masks; {machine(self)}\n\n"
            + markdown(["table", *self.methods], rows)
        )
        write(self.out, "imputation", told, {"share": self.share, "errors": errors})

    def _errors(self, x: Array) -> dict[str, list[float]]:
        x = (x - x.mean(axis=0)) / x.std(axis=0)
        errors: dict[str, list[float]] = {method: [] for method in self.methods}
        for mask in range(self.masks):
            holes = with_holes(x, NOTEBOOK_SEED + mask, self.share)
            missing = np.isnan(holes)
            for method in self.methods:
                with warnings.catch_warnings():
                    warnings.simplefilter(
                        "ignore"
                    )  # of convergence, which rivals may not reach at their defaults
                    completed = METHODS[method]()(holes)
                errors[method].append(float(np.mean((completed - x)[missing] ** 2)))
        return errors


def _told(errors: list[float]) -> str:
    if len(errors) < 2:
        return f"{errors[0]:.4f}"
    return f"{np.mean(errors):.4f} ± {np.std(errors, ddof=1) / np.sqrt(len(errors)):.4f}"
