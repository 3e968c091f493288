"""Exact baselines and variational autoencoders on the same rows, in the same unit, side by side."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pyro_vae._checks import InputError
from pyro_vae.baselines import PPCA, PPCAEM, FactorAnalysis, MixtureOfPPCA
from pyro_vae.building import build, fit_settings, resolve
from pyro_vae.config import Config
from pyro_vae.data import DataSet
from pyro_vae.guides import DiagonalNormalGuide
from pyro_vae.likelihoods import GaussianWithIsotropicScale, typical_scale
from pyro_vae.linear import LinearEncoder, LinearGaussianModel
from pyro_vae.objectives import estimate_elbo
from pyro_vae.training import Callback, FitResult, Schedule, fit

__all__ = ["Entry", "LinearVAE", "fit_baseline", "fit_linear_vae", "fit_vae", "mean_and_se"]

BASELINE_BYTES = 2**32
"""Training rows beyond this size (as float64) are not given to the baselines at the end of a run."""


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
    """

    name: str
    kind: str
    test: tuple[float, float]
    train: float
    parameters: int
    iterations: int
    seconds: float
    path: list[tuple[float, float]] = field(default_factory=list)


def mean_and_se(values: NDArray[np.float64] | Tensor) -> tuple[float, float]:
    """Return the mean over rows and its standard error (NaN for one row)."""
    array = np.asarray(values, dtype=np.float64)
    error = array.std(ddof=1) / len(array) ** 0.5 if len(array) > 1 else np.nan
    return float(array.mean()), float(error)


def fit_baseline(estimator: Any, name: str, train: NDArray[np.float64], test: NDArray[np.float64]) -> Entry:
    """Fit an exact estimator and score it.

    Args:
        estimator: One of `pyro_vae.baselines`.
        name: What the table calls it.
        train: Rows to fit, shape (N, data_dim).
        test: Rows to score, shape (M, data_dim).

    Raises:
        InputError: If the estimator has no answer for these rows, such as more components than their rank.
    """
    started = time.perf_counter()
    estimator.fit(train)
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


@dataclass(frozen=True)
class LinearVAE:
    """A linear variational autoencoder and how near it came to what is known exactly.

    Args:
        entry: Its line.
        optimum: The closed form's log-likelihood of the training rows: PPCA's, nats per example.
        reached: The exact log-likelihood of the training rows at its own parameters, nats per example.
        model: The generative half.
    """

    entry: Entry
    optimum: float
    reached: float
    model: LinearGaussianModel

    @property
    def parameter_gap(self) -> float:
        """Optimum minus the exact log-likelihood at the parameters reached: what training left over."""
        return self.optimum - self.reached

    @property
    def posterior_gap(self) -> float:
        """Exact log-likelihood minus ELBO: the mean KL(q(z | x) || p(z | x)), what the guide left over."""
        return self.reached - self.entry.train


def fit_linear_vae(
    train: Tensor,
    test: Tensor,
    latent_dim: int,
    *,
    epochs: int = 300,
    batch_size: int = 128,
    lr: float = 3e-3,
    seed: int = 0,
    callbacks: Sequence[Callback] = (),
    progress: bool = True,
) -> LinearVAE:
    """Train the linear VAE with one noise scale by SVI and measure its gap to PPCA (Lucas et al. 2019).

    Args:
        train: Rows to fit, shape (N, data_dim); the same draw in every epoch, as for the baselines.
        test: Rows to score, shape (M, data_dim).
        latent_dim: Size of z.
        epochs: Passes over the training rows.
        batch_size: Rows a step.
        lr: Peak learning rate of Adam.
        seed: Of the first weights and of all noise.
        callbacks: As for `fit`.
        progress: Whether to show a progress bar.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model, guide = _linear_vae(train, latent_dim)
    adam = partial(torch.optim.Adam, lr=lr, fused=True)
    result = fit(
        model,
        guide,
        train,
        epochs=epochs,
        batch_size=batch_size,
        optimizer=adam,
        schedule=Schedule("cosine", warmup=0.05),
        callbacks=callbacks,
        seed=seed,
        progress=progress,
    )
    model, guide = model.cpu().double(), guide.cpu().double()
    exact = model.to_baseline()
    rows = train.double()
    entry = _vae_entry("linear VAE by SVI", model, guide, rows, test.double(), result, num_particles=20)
    optimum = PPCA(latent_dim).fit(rows).score(rows)
    return LinearVAE(entry, optimum, exact.score(rows), model)


def _linear_vae(train: Tensor, latent_dim: int) -> tuple[LinearGaussianModel, DiagonalNormalGuide]:
    mean, scale = train.double().mean(0), typical_scale(train.double().std(0))
    same = torch.full_like(mean, scale)
    likelihood = GaussianWithIsotropicScale(mean, same, scale_floor=1e-4 * scale)
    guide = DiagonalNormalGuide(LinearEncoder(mean, same, latent_dim))
    return LinearGaussianModel(latent_dim, likelihood), guide


def fit_vae(config: Config, dataset: DataSet, callbacks: Sequence[Callback] = ()) -> Entry:
    """Train the VAE that a configuration names, dequantized anew each epoch, and measure its ELBO.

    Args:
        config: As `svi_train.py` takes it; what it leaves open is chosen from the data.
        dataset: What to train on.
        callbacks: As for `fit`.
    """
    mean, std = dataset.statistics()
    config = resolve(config, dataset, std, config.training.device)
    model, guide = build(config.model, mean, std, config.training.seed)
    settings = fit_settings(config.training)
    result = fit(model, guide, dataset.train, dataset.validation, callbacks=callbacks, **settings)
    name = f"nonlinear VAE ({config.model.likelihood})"
    entry = _vae_entry(name, model.cpu(), guide.cpu(), dataset.train.tensor(), dataset.test.tensor(), result)
    return replace(entry, iterations=result.best_epoch)


def _vae_entry(
    name: str,
    model: nn.Module,
    guide: nn.Module,
    train: Tensor,
    test: Tensor,
    result: FitResult,
    num_particles: int = 10,
) -> Entry:
    estimates = [
        estimate_elbo(model, guide, ((block,) for block in rows.split(1000)), num_particles)
        for rows in (train, test)
    ]
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


def linear_baselines(dataset: DataSet, latent_dim: int) -> dict[str, Entry | str]:
    """Fit PPCA and factor analysis to a data set's training split, for the end of a run.

    Args:
        dataset: Under continuous preprocessing: a density says nothing of zeros and ones.
        latent_dim: Size of z.

    Returns:
        By key of `summary.json` an entry, or the reason why there is none.
    """
    size = 8 * len(dataset.train) * dataset.data_dim
    if size > BASELINE_BYTES:
        return {
            "ppca": f"not fitted: {size / 2**30:.0f} GiB of training rows; PPCA.partial_fit takes them in chunks"
        }
    train, test = (split.tensor().double().numpy() for split in (dataset.train, dataset.test))
    estimators = {"ppca": PPCA(latent_dim), "factor_analysis": FactorAnalysis(latent_dim, n_init=1)}
    return {key: _entry_or_reason(estimator, key, train, test) for key, estimator in estimators.items()}


def _entry_or_reason(
    estimator: Any, key: str, train: NDArray[np.float64], test: NDArray[np.float64]
) -> Entry | str:
    try:
        return fit_baseline(estimator, NAMES[key], train, test)
    except InputError as error:
        return f"not defined here: {error}"


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
