"""From rows of numbers to a trained model and guide, with defaults by the number of rows and columns."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from pyro_vae._checks import check
from pyro_vae.baselines._gaussian import Array
from pyro_vae.data.columns import Column
from pyro_vae.estimator.moments import moments
from pyro_vae.experiment.build import build, num_components
from pyro_vae.experiment.config import ModelConfig, TrainingConfig
from pyro_vae.experiment.resolve import default_patience
from pyro_vae.experiment.resolve import objective as make_objective
from pyro_vae.guides import AmortizedGuide
from pyro_vae.likelihoods.base import fill_constant, geometric_scale, typical_scale
from pyro_vae.models.generative import GenerativeModel
from pyro_vae.seeds import derive_seed
from pyro_vae.settings.part import DataFacts
from pyro_vae.training import FusedAdamW, Schedule, fit
from pyro_vae.training.result import FitResult

__all__ = ["Trained", "Training", "as_double", "default_epochs", "default_hidden", "train"]

STEPS = 3000
SMALL = 1000
"""Training rows below which there is one hidden layer, and a higher learning rate."""
Module = TypeVar("Module", bound=nn.Module)


@dataclass(frozen=True)
class Training:
    """Settings of the training of `VAE`, with the names of the scripts; None means chosen from the data."""

    latent_dim: int
    likelihood: str
    guide: str
    prior: str
    objective: str
    num_particles: int
    hidden: tuple[int, ...] | None
    epochs: int | None
    batch_size: int
    lr: float | None
    validation_fraction: float
    patience: int | None
    compile: str
    device: str

    @classmethod
    def of(cls, estimator: Any, num_columns: int) -> Training:
        """Return the settings given by the parameters of `VAE` for rows of `num_columns` columns."""
        size, hidden = estimator.n_components, estimator.hidden
        return cls(
            latent_dim=min(16, max(1, num_columns // 2)) if size is None else size,
            likelihood=estimator.likelihood,
            guide=estimator.guide,
            prior=estimator.prior,
            objective=estimator.objective,
            num_particles=estimator.num_particles,
            hidden=None if hidden is None else tuple(hidden),
            epochs=estimator.epochs,
            batch_size=estimator.batch_size,
            lr=estimator.learning_rate,
            validation_fraction=estimator.validation_fraction,
            patience=estimator.patience,
            compile=estimator.compile,
            device=estimator.device,
        )


@dataclass(frozen=True)
class Trained:
    """Programs in the precision of training, and which rows were validation rows, boolean, shape (N,)."""

    model: GenerativeModel
    guide: AmortizedGuide
    hidden: tuple[int, ...]
    result: FitResult
    validation: NDArray[np.bool_]


def train(settings: Training, rows: Array, seed: int, columns: Sequence[Column] | None = None) -> Trained:
    """Train on rows of shape (N, D), NaN where not observed, without those kept for validation.

    Args:
        settings: Settings of model and training.
        rows: Shape (N, D).
        seed: Seed of the split, the initial weights and the noise.
        columns: Kinds of the columns, for the likelihood of tables.
    """
    validation = _split(len(rows), settings.validation_fraction, seed)
    kept = rows[~validation]
    hidden = settings.hidden or default_hidden(*kept.shape)
    mean, std = _moments(kept)
    config = _model_config(settings, hidden, std, len(kept))
    start = torch.from_numpy(kept[np.linspace(0, len(kept) - 1, num_components(config)).astype(np.int64)])
    model, guide = build(config, mean, std, seed=derive_seed(seed, 1), rows=start, columns=columns)
    epochs = settings.epochs or default_epochs(len(kept), settings.batch_size)
    training = TrainingConfig(
        objective=settings.objective,
        num_particles=settings.num_particles,
    )
    result = fit(
        model,
        guide,
        torch.from_numpy(kept).float(),
        torch.from_numpy(rows[validation]).float() if validation.any() else None,
        objective=make_objective(training),
        epochs=epochs,
        batch_size=min(settings.batch_size, len(kept)),
        optimizer=partial(FusedAdamW, lr=settings.lr or (0.005 if len(kept) < SMALL else 0.002)),
        schedule=Schedule("cooldown"),
        average=0.05,
        patience=(settings.patience or default_patience(epochs)) if validation.any() else None,
        device=settings.device,
        compile=settings.compile,
        seed=derive_seed(seed, 2),
        progress=False,
    )
    return Trained(model, guide, hidden, result, validation)


def _moments(rows: Array) -> tuple[torch.Tensor, torch.Tensor]:
    """Return mean and standard deviation of the observed entries of each column."""
    empty = np.flatnonzero(np.isnan(rows).all(axis=0))
    check(
        len(empty) == 0,
        f"Expected an observed value in each column of the training rows; got none in columns {empty[:5].tolist()}. "
        "Drop them.",
    )
    mean, std = moments(rows)
    return torch.from_numpy(mean), torch.from_numpy(std)


def default_hidden(num_rows: int, num_columns: int) -> tuple[int, ...]:
    """Return widths that grow with the root of the number of entries: one layer below 1000 rows, two above.

    A power of two from 32 to 256: 32 for 150 rows of 13 columns, 256 for 100 000 of 50.
    """
    width = 2 ** round(math.log2(math.sqrt(num_rows * num_columns)))
    return (min(256, max(32, width)),) * (1 if num_rows < SMALL else 2)


def default_epochs(num_rows: int, batch_size: int) -> int:
    """Return the number of epochs that makes about 3000 steps, at least 20 and at most 300."""
    return min(max(round(STEPS / -(-num_rows // batch_size)), 20), 300)


def as_double(program: Module) -> Module:
    """Return a copy in double precision, on the CPU, in evaluation mode."""
    return copy.deepcopy(program).cpu().double().eval()


def _split(num_rows: int, share: float, seed: int) -> NDArray[np.bool_]:
    """Return which rows are for validation: at least one where there is a share and more than three rows."""
    count = round(share * num_rows) if num_rows > 3 else 0
    count = min(max(count, 1), num_rows - 2) if share > 0 and num_rows > 3 else 0
    chosen = np.zeros(num_rows, dtype=np.bool_)
    chosen[np.random.default_rng(seed).permutation(num_rows)[:count]] = True
    return chosen


def _model_config(
    settings: Training, hidden: tuple[int, ...], std: torch.Tensor, num_rows: int
) -> ModelConfig:
    """Return the configuration of the programs, with what the data decides filled in."""
    values: dict[str, Any] = {name: getattr(settings, name) for name in ("likelihood", "guide", "prior")}
    config = ModelConfig(latent_dim=settings.latent_dim, hidden=hidden, **values)
    facts = DataFacts(
        typical_scale=typical_scale(std),
        geometric_scale=geometric_scale(std),
        smallest_scale=float(fill_constant(std).min()),
        one_unit=config.part("likelihood").name in ("bernoulli", "continuous-bernoulli"),
        num_rows=num_rows,
    )
    chosen: dict[str, Any] = {}
    for kind in config.kinds:
        chosen |= config.part(kind).resolved(facts)
    return config.__class__(**{**vars(config), **chosen})
