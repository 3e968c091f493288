"""Several guides for one model: fitted one after another, measured on the same rows, and saved."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from pyro_vae._checks import InputError, check_choice, check_integer
from pyro_vae.data import DataSet
from pyro_vae.evaluate import LogLikelihood, log_likelihood
from pyro_vae.evaluate.gaps import RowFit, inference_gaps
from pyro_vae.evenly_spaced import evenly_spaced_rows
from pyro_vae.experiment.config import Config
from pyro_vae.experiment.prepare import prepare
from pyro_vae.guides import SemiAmortizedGuide
from pyro_vae.settings.latents import names_for_latent
from pyro_vae.storage import write_atomically

__all__ = ["COMPARED", "FittedGuide", "MeasuredGuide", "fit_guides", "measure_guide"]

COMPARED = (*(name for name in names_for_latent("guide") if name != "point"), "semi-amortized")
"""Guides that can be compared, by name."""


@dataclass(frozen=True)
class FittedGuide:
    """A guide fitted to a model.

    Args:
        name: One of `COMPARED`.
        seed: Seed of the initial weights and of training.
        model: The model that the guide was fitted to, or trained with.
        guide: The guide.
        parameters: Number of its own parameters.
        seconds: Time to fit.
    """

    name: str
    seed: int
    model: nn.Module
    guide: nn.Module
    parameters: int
    seconds: float


@dataclass(frozen=True)
class MeasuredGuide:
    """The results of one fitted guide for each row, in nats.

    Args:
        name: One of `COMPARED`.
        seed: Seed of training and of the noise of the measurements.
        parameters: Number of its own parameters.
        seconds: Time to fit.
        likelihood: ELBO and importance-sampled log p(x) of N test rows.
        train_elbo: ELBO of some training rows, shape (M,).
        chosen: Indices of the test rows whose gaps were measured, shape (R,).
        log_prob: The largest lower bound found on log p(x) of these rows, shape (R,).
        log_prob_se: Its Monte Carlo standard error, shape (R,).
        optimum: ELBO of the best member of the guide's family for each of these rows, shape (R,).
        amortized: ELBO of the guide for each of these rows, with the same noise, shape (R,).
    """

    name: str
    seed: int
    parameters: int
    seconds: float
    likelihood: LogLikelihood
    train_elbo: Tensor
    chosen: Tensor
    log_prob: Tensor
    log_prob_se: Tensor
    optimum: Tensor
    amortized: Tensor

    def save(self, path: Path) -> None:
        """Write the results as plain arrays, atomically.

        Raises:
            StorageError: If it cannot be written.
        """
        arrays: dict[str, Any] = {n: v.numpy() for n, v in vars(self).items() if isinstance(v, Tensor)}
        likelihood = torch.stack(self.likelihood.columns()).numpy()
        about = [self.name, *(repr(n) for n in (self.seed, self.parameters, self.seconds))]
        with write_atomically(path) as temporary, temporary.open("wb") as file:
            np.savez(
                file, about=about, likelihood=likelihood, num_samples=self.likelihood.num_samples, **arrays
            )

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote.

        Raises:
            InputError: If the file is damaged or of another kind.
        """
        try:
            with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            name, seed, parameters, seconds = arrays.pop("about").tolist()
            columns, num_samples = arrays.pop("likelihood"), int(arrays.pop("num_samples"))
            return cls(
                name,
                int(seed),
                int(parameters),
                float(seconds),
                LogLikelihood.from_columns(torch.from_numpy(columns), num_samples),
                **{name: torch.from_numpy(values) for name, values in arrays.items()},
            )
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
            raise InputError(
                f"Expected the measurements of a guide in {path}; the file is damaged or something else "
                f"({type(error).__name__}). Delete it, and the guide is fitted again."
            ) from None


def fit_guides(
    config: Config,
    dataset: DataSet,
    names: Sequence[str] = COMPARED[:-1],
    seeds: Sequence[int] = (0,),
    model: nn.Module | None = None,
    *,
    progress: bool = False,
) -> list[FittedGuide]:
    """Fit guides of several families to one fixed model, or each jointly with its own model.

    Args:
        config: Resolved configuration; its networks, objective and schedule apply to every fit.
        dataset: Data set; guides are fitted to its training split, and its validation split selects the epoch.
        names: Names of guides, from `COMPARED`.
        seeds: Seeds; each family is fitted once with each.
        model: The fixed model; if None, each guide is trained jointly with a new one.
        progress: Whether to show a progress bar on stderr.

    Raises:
        InputError: If a name is unknown.
    """
    for name in names:
        check_choice(name, COMPARED, "guides")
    if model is not None:
        model.requires_grad_(False)
    return [_fit(config, dataset, name, seed, model, progress) for name in names for seed in seeds]


def _fit(
    config: Config, dataset: DataSet, name: str, seed: int, fixed: nn.Module | None, progress: bool
) -> FittedGuide:
    family: Any = "diagonal" if name == "semi-amortized" else name
    chosen = replace(
        config,
        model=replace(config.model, guide=family),
        training=replace(config.training, seed=seed),
    )
    prepared = prepare(chosen, dataset)
    guide: Any = prepared.guide
    model: Any = prepared.model if fixed is None else fixed
    if name == "semi-amortized":
        guide = SemiAmortizedGuide(guide, model)
    result = replace(prepared, model=model, guide=guide).fit(progress=progress)
    shared = {id(p) for p in model.parameters()}
    own = sum(p.numel() for p in guide.parameters() if id(p) not in shared)
    return FittedGuide(name, seed, model, guide, own, result.seconds)


def measure_guide(
    fitted: FittedGuide,
    x: Tensor,
    train: Tensor,
    *,
    num_samples: int = 1000,
    gap_rows: int = 100,
    row_fit: RowFit | None = None,
    progress: bool = False,
) -> MeasuredGuide:
    """Measure a fitted guide; the noise depends on its seed and is the same for every family.

    Args:
        fitted: A result of `fit_guides`.
        x: Test rows, shape (N, data_dim).
        train: Training rows, shape (M, data_dim), whose ELBO is estimated with a tenth of the samples.
        num_samples: Samples of z for each test row.
        gap_rows: Number of evenly spaced test rows for which the best member of the family is optimised.
        row_fit: Settings of this optimisation.
        progress: Whether to show a progress bar on stderr.

    Raises:
        InputError: If a number is out of range.
    """
    chosen = torch.from_numpy(evenly_spaced_rows(len(x), check_integer(gap_rows, "gap_rows")))
    model, guide, seed = fitted.model, fitted.guide, fitted.seed
    likelihood = log_likelihood(model, guide, x, num_samples, seed=seed, progress=progress)
    on_train = log_likelihood(model, guide, train, max(num_samples // 10, 2), seed=seed)
    gaps = inference_gaps(
        model, guide, x[chosen], fit=row_fit, num_samples=num_samples, seed=seed, progress=progress
    )
    assert gaps.own_family is not None
    return MeasuredGuide(
        fitted.name,
        seed,
        fitted.parameters,
        fitted.seconds,
        likelihood,
        on_train.elbo,
        chosen,
        gaps.log_prob.value,
        gaps.log_prob.se,
        gaps.own_family.value,
        gaps.amortized.value,
    )
