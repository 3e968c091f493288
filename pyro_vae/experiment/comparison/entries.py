"""The lines of a comparison: fitted models, and their log-likelihood or ELBO on the same rows in one unit."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from pyro_vae.data import DataSet
from pyro_vae.experiment.comparison.scored_rows import score_some
from pyro_vae.experiment.config import Config
from pyro_vae.experiment.prepare import prepare
from pyro_vae.objectives import estimate_elbo
from pyro_vae.statistics import mean_and_se
from pyro_vae.training import Callback, FitResult

__all__ = ["BOUND", "Entry", "density_shift", "fit_baseline", "fit_vae", "vae_entry"]

BOUND = "exact log-density of dequantized x minus log(levels) a column, a bound on log P(x)"
"""Meaning of an exact model's value in a comparison with probabilities of integers."""


@dataclass(frozen=True)
class Entry:
    """One line of a comparison.

    Args:
        name: Name of the fitted model.
        kind: "exact" for a log-likelihood, "ELBO" for a lower bound on one.
        test: Mean over the test rows and its standard error, nats per example.
        train: Mean over the training rows, nats per example.
        parameters: Number of fitted parameters.
        iterations: Iterations or epochs, 1 for a closed form.
        seconds: Time to fit.
        path: Training values (nats per example) during the fit, equally spaced in time if times were not recorded.
        likelihood: log p(x) by importance sampling on some test rows, if it is not exact; see `score_some`.
    """

    name: str
    kind: str
    test: tuple[float, float]
    train: float
    parameters: int
    iterations: int
    seconds: float
    path: list[tuple[float, float]] = field(default_factory=list)
    likelihood: dict[str, Any] | None = None

    def shifted(self, by: float) -> Entry:
        """Return the line with a constant (nats per example) added to all values, for x in another unit."""
        path = [(seconds, value + by) for seconds, value in self.path]
        return replace(self, test=(self.test[0] + by, self.test[1]), train=self.train + by, path=path)


def fit_baseline(
    estimator: Any,
    name: str,
    train: NDArray[np.float64],
    test: NDArray[np.float64],
    fit: Callable[[], Any] | None = None,
) -> Entry:
    """Fit an exact estimator and score it.

    Args:
        estimator: One of `pyro_vae.baselines`.
        name: Name in the table.
        train: Rows to fit, shape (N, data_dim).
        test: Rows to score, shape (M, data_dim).
        fit: Function that fits the estimator; `estimator.fit(train)` if None.

    Raises:
        InputError: If the estimator cannot be fitted to these rows, for example with more components than their rank.
    """
    started = time.perf_counter()
    estimator.fit(train) if fit is None else fit()
    seconds = time.perf_counter() - started
    fitted = ("components_", "mean_", "means_", "noise_variance_", "weights_")
    steps = getattr(estimator, "loglike_", [])
    return Entry(
        name,
        "exact",
        mean_and_se(estimator.score_samples(test)),
        float(estimator.score(train)),
        sum(int(np.size(getattr(estimator, part))) for part in fitted if hasattr(estimator, part)),
        getattr(estimator, "n_iter_", 1),
        seconds,
        [(seconds * (i + 1) / len(steps), value / len(train)) for i, value in enumerate(steps)],
    )


def fit_vae(config: Config, dataset: DataSet, callbacks: Sequence[Callback] = ()) -> Entry:
    """Train the VAE of a configuration, with dequantization noise redrawn in every epoch, and measure its ELBO.

    Args:
        config: Configuration as for `pyro-vae train`; open settings are chosen from the data.
        dataset: The data set to train on.
        callbacks: Callbacks of `fit`.
    """
    prepared = prepare(config, dataset)
    model, guide = prepared.model, prepared.guide
    result = prepared.fit(callbacks=callbacks)
    name = f"nonlinear VAE ({config.model.likelihood})"
    entry = vae_entry(name, model, guide, dataset.train, dataset.test, result)
    likelihood = score_some(model, guide, dataset.test)
    return replace(entry, iterations=result.best_epoch, likelihood=likelihood)


def vae_entry(
    name: str,
    model: nn.Module,
    guide: nn.Module,
    train: Any,
    test: Any,
    result: FitResult,
    num_particles: int = 10,
) -> Entry:
    """Return the line of a trained model and guide: their ELBO on both splits.

    Args:
        name: Name in the table.
        model: The model, on the CPU like the rows.
        guide: The guide, on the CPU.
        train: Training rows with their context, as for `estimate_elbo`.
        test: Rows to score, likewise.
        result: Result of `fit`.
        num_particles: Samples of z for each row.
    """
    estimates = [estimate_elbo(model, guide, rows, num_particles) for rows in (train, test)]
    numbers = {id(p): p.numel() for p in (*model.parameters(), *guide.parameters())}
    path = [(line["seconds"], line["train"]["elbo"]) for line in result.history]
    test_elbo = (estimates[1].mean, estimates[1].se)
    return Entry(
        name,
        "ELBO",
        test_elbo,
        estimates[0].mean,
        sum(numbers.values()),
        len(result.history),
        result.seconds,
        path,
    )


def density_shift(dataset: DataSet) -> float:
    """Return the constant that converts log p(x) of `dataset.as_density()` to the unit of `dataset`, nats per example.

    0 if x has a density. Otherwise x is integers, and `log p(x) - data_dim log(levels)` of their dequantized values
    bounds the log of their probability.
    """
    own, noisy = dataset.preprocessing.log_width, dataset.as_density().preprocessing.log_width
    return 0.0 if own is None or noisy is None else dataset.data_dim * (noisy - own)
