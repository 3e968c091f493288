"""The lines of a comparison: what is fitted, and its log-likelihood or ELBO on the same rows in one unit."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pyro_vae._checks import InputError
from pyro_vae.baselines import PPCA, PPCAEM, FactorAnalysis, MixtureOfPPCA
from pyro_vae.data import DataSet, Split
from pyro_vae.evaluate import LogLikelihood, log_likelihood
from pyro_vae.experiment.comparison.pooled_moments import pooled_moments
from pyro_vae.experiment.config import Config
from pyro_vae.experiment.prepare import prepare
from pyro_vae.objectives import estimate_elbo
from pyro_vae.processes import ALONE, Processes
from pyro_vae.progress import progress_bar
from pyro_vae.statistics import mean_and_se
from pyro_vae.training import Callback, FitResult

__all__ = [
    "NAMES",
    "Entry",
    "exact_baselines",
    "fit_baseline",
    "fit_vae",
    "linear_baselines",
    "score_some",
    "vae_entry",
]

BASELINE_BYTES = 2**32
"""Training rows beyond this size (as float64) are not given to the baselines at the end of a run."""


SCORED_ROWS, SCORED_SAMPLES = 1000, 1000
"""Rows whose log p(x) is estimated at the end of a run, and samples for each; `scripts/evaluate.py` does all rows."""


@dataclass(frozen=True)
class Entry:
    """One line of a comparison.

    Args:
        name: What was fitted.
        kind: "exact" for a log-likelihood, "ELBO" for a lower bound on one.
        test: Mean over the test rows and its standard error, nats per example.
        train: Mean over the training rows, nats per example.
        parameters: How many numbers were fitted.
        iterations: Iterations or epochs, 1 for a closed form.
        seconds: Time to fit.
        path: Training values (nats per example) on the way, equally spaced in time where none were taken.
        likelihood: log p(x) by importance sampling on some test rows, where it is not known; see `score_some`.
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
        name: What the table calls it.
        train: Rows to fit, shape (N, data_dim).
        test: Rows to score, shape (M, data_dim).
        fit: Fits the estimator; its own `fit` to the training rows where None.

    Raises:
        InputError: If the estimator has no answer for these rows, such as more components than their rank.
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
    """Train the VAE that a configuration names, dequantized anew each epoch, and measure its ELBO.

    Args:
        config: As `svi_train.py` takes it; what it leaves open is chosen from the data.
        dataset: What to train on.
        callbacks: As for `fit`.
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
        name: What the table calls it.
        model: On the CPU, as the rows.
        guide: Beside it.
        train: Rows that were fitted, with their context, as `estimate_elbo` takes them.
        test: Rows to score, likewise.
        result: What `fit` returned.
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


def score_some(
    model: nn.Module,
    guide: nn.Module,
    split: Split,
    device: torch.device | str = "cpu",
    processes: Processes = ALONE,
    *,
    num_rows: int = SCORED_ROWS,
    progress: bool = False,
) -> dict[str, Any]:
    """Estimate log p(x) by importance sampling, with 1000 samples, on at most `num_rows` from all over a split.

    Args:
        model: A Pyro program.
        guide: Its guide.
        split: Whose rows; under their fixed draw.
        device: Where the programs are.
        processes: Those that share the rows.
        num_rows: Rows at most.
        progress: Whether to show a progress bar on stderr.

    Returns:
        `LogLikelihood.summary()`, how many rows, and the mean ELBO of the same samples; nats per example.
    """
    rows = tuple(part.to(device) for part in split.evenly_spaced(num_rows).share(processes).tensors())
    own = log_likelihood(model, guide, rows, SCORED_SAMPLES, seed=processes.seed(0), progress=progress)
    columns = processes.gather(torch.stack(own.columns(), dim=1)).T
    estimate = LogLikelihood.from_columns(columns, own.num_samples)
    return estimate.summary() | {"num_examples": len(estimate), "elbo_mean": float(estimate.elbo.mean())}


def linear_baselines(
    dataset: DataSet, latent_dim: int, processes: Processes = ALONE, *, progress: bool = False
) -> dict[str, Entry | str]:
    """Fit PPCA and factor analysis to a data set's training split, for the end of a run.

    Args:
        dataset: Under continuous preprocessing: a density says nothing of zeros and ones.
        latent_dim: Size of z.
        processes: Those that share the rows; PPCA's statistics are summed over them, the rest is left to the first.
        progress: Whether to show a progress bar on stderr.

    Returns:
        By key of `summary.json` an entry, or the reason why there is none.
    """
    size = 8 * len(dataset.train) * dataset.data_dim
    if size > BASELINE_BYTES:
        return {
            "ppca": f"not fitted: {size / 2**30:.0f} GiB of training rows; PPCA.partial_fit takes them in chunks"
        }
    train, test = (split.tensor().double().numpy() for split in (dataset.train, dataset.test))
    ppca = PPCA(latent_dim)

    def fit_ppca() -> PPCA:
        return ppca.fit_moments(pooled_moments(train[processes.share(len(train))], processes))

    with progress_bar(2, "models", f"fitting {NAMES['ppca']}", shown=progress, leave=False) as bar:
        fit_it = fit_ppca if processes.count > 1 else None
        found = {"ppca": _entry_or_reason(ppca, "ppca", train, test, fit_it)}
        bar.update()
        if processes.rank == 0:
            bar.set_description_str(f"fitting {NAMES['factor_analysis']}")
            estimator = FactorAnalysis(latent_dim, n_init=1)
            found["factor_analysis"] = _entry_or_reason(estimator, "factor_analysis", train, test)
            bar.update()
    return found


def _entry_or_reason(
    estimator: Any,
    key: str,
    train: NDArray[np.float64],
    test: NDArray[np.float64],
    fit: Callable[[], Any] | None = None,
) -> Entry | str:
    try:
        return fit_baseline(estimator, NAMES[key], train, test, fit)
    except InputError as error:
        return f"not defined here: {error}"
    except MemoryError as error:
        return f"not fitted: not enough memory ({error})"


NAMES = {
    "ppca": "PPCA, closed form",
    "ppca_em": "PPCA by EM",
    "factor_analysis": "factor analysis",
    "mixture_of_ppca": "mixture of PPCA",
}


def exact_baselines(latent_dim: int, num_clusters: int, seed: int) -> dict[str, tuple[str, Any]]:
    """Return the exact estimators of a comparison: by key, what a table calls each, and the estimator."""
    return {
        "ppca": (NAMES["ppca"], PPCA(latent_dim)),
        "ppca_em": (NAMES["ppca_em"], PPCAEM(latent_dim, random_state=seed)),
        "factor_analysis": (
            NAMES["factor_analysis"],
            FactorAnalysis(latent_dim, n_init=1, random_state=seed),
        ),
        "mixture_of_ppca": (
            f"{NAMES['mixture_of_ppca']}, {num_clusters} clusters",
            MixtureOfPPCA(latent_dim, n_clusters=num_clusters, random_state=seed),
        ),
    }
