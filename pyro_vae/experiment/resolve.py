"""Choice, from the data, of settings that a configuration leaves open, and the arguments of `fit`."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any, Literal, cast

from torch import Tensor

from pyro_vae.compiled import worth_compiling
from pyro_vae.data import DataSet
from pyro_vae.experiment.config import (
    Config,
    ModelConfig,
    TrainingConfig,
)
from pyro_vae.likelihoods.base import fill_constant, geometric_scale, typical_scale
from pyro_vae.networks.bfloat16 import has_fast_bfloat16
from pyro_vae.objectives import Objective
from pyro_vae.settings.guides import GuidePart
from pyro_vae.settings.latents import with_parts_of_latent
from pyro_vae.settings.part import DataFacts
from pyro_vae.training import FusedAdamW, Schedule, kept_by

__all__ = ["default_epochs", "fit_settings", "objective", "objective_of", "resolve"]

WIDE = 400
"""Width from which faster products of a network outweigh the time for rounding their factors."""


def resolve(config: Config, dataset: DataSet, std: Tensor, device: str) -> Config:
    """Return the configuration with values for all settings that were left open.

    Args:
        config: Configuration as given.
        dataset: The data set to train on.
        std: Standard deviation of each column of the training split, shape (data_dim,), in data units.
        device: The device that "auto" stands for.

    Raises:
        InputError: If a setting is given that no chosen part uses, or that does not fit the data.
    """
    config = _with_parts_of_latent(config)
    config = replace(config, model=_resolved_model(config.model, dataset, std, device))
    is_point = config.model.part("guide").is_point
    if is_point:
        config = replace(config, training=replace(config.training, objective="reconstruction"))
    if not config.run.sample_from:
        # A mixture fitted to the codes of all rows does not describe those of one context.
        sources = ("mixture",) if is_point and config.model.context == "none" else ("prior",)
        config = replace(config, run=replace(config.run, sample_from=sources))
    training = _with_stopping_rule(config, dataset)
    compiled = training.compile
    if compiled == "auto":
        num_batches = (training.epochs or 0) * -(-len(dataset.train) // training.batch_size)
        compiled = "on" if worth_compiling(num_batches) else "off"
    place = cast(Literal["cpu", "cuda"], device)
    return replace(config, training=replace(training, device=place, compile=compiled))


def _with_parts_of_latent(config: Config) -> Config:
    """Return the configuration with guide, prior and objective of its type of latent instead of those of another."""
    model, training = config.model, config.training
    chosen = {"guide": model.guide, "prior": model.prior, "objective": training.objective}
    own = with_parts_of_latent(model.part("latent"), chosen)
    training = replace(training, objective=own.pop("objective"))
    return replace(config, model=replace(model, **own), training=training)


def _with_stopping_rule(config: Config, dataset: DataSet) -> TrainingConfig:
    """Return the settings with values for the end of training and for the epoch that is kept.

    A given number of epochs is run to its end. If the number is chosen here, training stops early, with a learning rate
    and averaged weights that are suitable for any end. On images of which 2500 steps are 20 epochs or more, the rate is
    twice as high, which needs half the steps: the best of at most 227 epochs on the digits then has the test ELBO of
    the best of 455 at 1e-3.
    """
    training = config.training
    chosen: dict[str, Any] = {"lr": 1e-3, "schedule": "cosine", "average": 0.0, "patience": "none"}
    if training.epochs is None:
        rows, batch = len(dataset.train), training.accumulate * training.batch_size
        few_images = dataset.is_image and 20 * -(-rows // batch) <= 2_500
        lr, num_steps = (2e-3, 2_500) if few_images and training.lr == "auto" else (1e-3, 5_000)
        epochs = default_epochs(rows, batch, num_steps)
        chosen = {"lr": lr, "schedule": "cooldown", "average": 0.05, "patience": default_patience(epochs)}
        training = replace(training, epochs=epochs)
    chosen["keep"] = kept_by(training.keep, objective_of(config, dataset), validated=True)
    return replace(
        training, **{name: value for name, value in chosen.items() if getattr(training, name) == "auto"}
    )


def _resolved_model(model: ModelConfig, dataset: DataSet, std: Tensor, device: str) -> ModelConfig:
    facts = DataFacts(
        typical_scale=typical_scale(std),
        geometric_scale=geometric_scale(std),
        smallest_scale=float(fill_constant(std).min()),
        one_unit=dataset.is_image or dataset.preprocessing.levels is not None,
        num_rows=len(dataset.train),
        error=model.part("likelihood").error,
    )
    chosen: dict[str, Any] = {}
    for kind in model.kinds:
        model.check_unused(kind)
        chosen |= model.part(kind).resolved(facts)
    if model.precision == "auto":
        gains = model.part("network").widest() >= WIDE and has_fast_bfloat16(device)
        chosen["precision"] = "bf16" if gains else "fp32"
    return replace(model, **chosen)


def objective(training: TrainingConfig, guide: GuidePart | None = None) -> Objective:
    """Return the objective of a configuration.

    Args:
        training: The objective and its settings.
        guide: The guide, if it has settings of the objective.
    """
    of_guide = {} if guide is None else guide.objective_settings()
    made: Objective = training.part("objective").make(num_particles=training.num_particles, **of_guide)
    return made


def objective_of(config: Config, dataset: DataSet) -> Objective:
    """Return the objective of a configuration, with the classes summed out if labels are missing."""
    training, num_rows = config.training, len(dataset.train)
    named = objective(training, config.model.part("guide"))
    named = training.part("objective").of_rows(named, num_rows, training.batch_size)
    made: Objective = config.model.part("context").objective(named, dataset)
    return made


def fit_settings(training: TrainingConfig, guide: GuidePart | None = None) -> dict[str, Any]:
    """Return the arguments of `fit` and `make_trainer` from a resolved configuration, by name."""
    return {
        "objective": objective(training, guide),
        "epochs": training.epochs,
        "batch_size": training.batch_size,
        "accumulate": training.accumulate,
        "optimizer": partial(FusedAdamW, lr=float(training.lr), weight_decay=training.weight_decay),
        "schedule": Schedule(training.schedule, training.warmup),
        "average": float(training.average),
        "clip_norm": training.clip_norm,
        "patience": None if training.patience == "none" else training.patience,
        "keep": training.keep,
        "metrics_every": training.metrics_every,
        "device": training.device,
        "compile": training.compile,
        "seed": training.seed,
    }


def default_epochs(num_rows: int, batch_size: int, num_steps: int = 5_000) -> int:
    """Return the number of epochs for about `num_steps` steps, at least 20 and at most 1000."""
    return min(max(round(num_steps / -(-num_rows // batch_size)), 20), 1000)


def default_patience(epochs: int) -> int:
    """Return the default patience for a maximum number of epochs: an eighth of it, at least 10.

    Small tables have few validation rows with heavy-tailed scores: with half this patience, training on two of five
    tables ended far too early, at a tenth of the epochs.
    """
    return max(10, round(epochs / 8))
