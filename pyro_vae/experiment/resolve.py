"""What a configuration leaves open, chosen from the data, and what `fit` takes from it."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any, Literal, cast

from torch import Tensor

from pyro_vae._checks import check, check_choice
from pyro_vae.compiled import worth_compiling
from pyro_vae.data import DataSet
from pyro_vae.experiment.build import SCALE_SETTINGS
from pyro_vae.experiment.config import (
    DEFAULT_COMPONENTS,
    OBJECTIVE_SETTINGS,
    Config,
    TrainingConfig,
)
from pyro_vae.likelihoods.base import fill_constant, typical_scale
from pyro_vae.networks.precision import has_fast_bfloat16
from pyro_vae.objectives import OBJECTIVES, Objective
from pyro_vae.training import FusedAdamW, Schedule, kept_by

__all__ = ["default_epochs", "fit_settings", "objective", "resolve"]

WIDE = 400
"""Width from which the products of a network outweigh the rounding of their factors."""


def resolve(config: Config, dataset: DataSet, std: Tensor, device: str) -> Config:
    """Return the configuration with everything that was left open filled in.

    Args:
        config: As given.
        dataset: What will be trained on.
        std: Standard deviation of each column of the training split, shape (data_dim,), in data units.
        device: The device that "auto" stands for.

    Raises:
        InputError: If a scale is given that the likelihood does not use, or more components than there are rows.
    """
    needed = SCALE_SETTINGS.get(config.model.likelihood, "scale_floor")
    for name in ("scale_floor", "fixed_scale"):
        given = getattr(config.model, name)
        check(
            given is None or name == needed,
            f"Expected no --{name.replace('_', '-')} with --likelihood {config.model.likelihood}, which does not use "
            f"one; got {given}. Leave it out.",
        )
        if given is None and name == needed:
            chosen: Any = {name: float(f"{_scale(name, dataset, std):.3g}")}
            config = replace(config, model=replace(config.model, **chosen))
    config = _with_components(config, len(dataset.train))
    if config.model.precision == "auto":
        gains = max(config.model.hidden) >= WIDE and has_fast_bfloat16(device)
        config = replace(config, model=replace(config.model, precision="bf16" if gains else "fp32"))
    training = _with_an_end(config.training, len(dataset.train))
    compiled = training.compile
    if compiled == "auto":
        num_steps = (training.epochs or 0) * -(-len(dataset.train) // training.batch_size)
        compiled = "on" if worth_compiling(num_steps) else "off"
    place = cast(Literal["cpu", "cuda"], device)
    return replace(config, training=replace(training, device=place, compile=compiled))


def _with_an_end(training: TrainingConfig, num_rows: int) -> TrainingConfig:
    """Return the settings with all that decides when training ends, and which epoch is kept, filled in.

    A given number of epochs is run to its end. Where it is chosen here training ends early, under a rate and with
    averaged weights that suit any end.
    """
    chosen: dict[str, Any] = {"schedule": "cosine", "average": 0.0, "patience": "none"}
    if training.epochs is None:
        epochs = default_epochs(num_rows, training.batch_size)
        chosen = {"schedule": "cooldown", "average": 0.05, "patience": default_patience(epochs)}
        training = replace(training, epochs=epochs)
    chosen["keep"] = kept_by(training.keep, objective(training), validated=True)
    return replace(
        training, **{name: value for name, value in chosen.items() if getattr(training, name) == "auto"}
    )


def _with_components(config: Config, num_rows: int) -> Config:
    """Return the configuration with the number of the prior's components filled in, where it has some."""
    given, prior = config.model.prior_components, config.model.prior
    check(
        prior != "vampprior" or given is None or given <= num_rows,
        f"Expected --prior-components of at most the {num_rows} training rows that they start at; got {given}.",
    )
    if given is None and prior in DEFAULT_COMPONENTS:
        chosen = min(DEFAULT_COMPONENTS[prior], num_rows)
        config = replace(config, model=replace(config.model, prior_components=chosen))
    return config


def _scale(name: str, dataset: DataSet, std: Tensor) -> float:
    """Return the scale that is used where none is given, in data units.

    The floor is a hundredth of a typical column's standard deviation where all columns have one unit, as
    pixels have, and of the least varying column's where each has its own.
    """
    one_unit = dataset.is_image or dataset.preprocessing.levels is not None
    if name == "fixed_scale":
        return 0.5 * typical_scale(std)
    return 0.01 * (typical_scale(std) if one_unit else float(fill_constant(std).min()))


def objective(training: TrainingConfig) -> Objective:
    """Return the objective that a configuration names."""
    check_choice(training.objective, OBJECTIVES, "objective")
    settings = {name: getattr(training, name) for name in OBJECTIVE_SETTINGS.get(training.objective, ())}
    if "kl_warmup" in settings:
        settings["warmup"] = settings.pop("kl_warmup")
    return OBJECTIVES[training.objective](num_particles=training.num_particles, **settings)


def fit_settings(training: TrainingConfig) -> dict[str, Any]:
    """Return what `fit` and `make_trainer` take from a resolved configuration, by the names of their arguments."""
    return {
        "objective": objective(training),
        "epochs": training.epochs,
        "batch_size": training.batch_size,
        "optimizer": partial(FusedAdamW, lr=training.lr, weight_decay=training.weight_decay),
        "schedule": Schedule(training.schedule, training.warmup),
        "average": float(training.average),
        "clip_norm": training.clip_norm,
        "patience": None if training.patience == "none" else training.patience,
        "keep": training.keep,
        "device": training.device,
        "compile": training.compile,
        "seed": training.seed,
    }


def default_epochs(num_rows: int, batch_size: int) -> int:
    """Return the number of epochs that makes about 5000 steps, at least 20 and at most 1000."""
    steps = -(-num_rows // batch_size)
    return min(max(round(5_000 / steps), 20), 1000)


def default_patience(epochs: int) -> int:
    """Return after how many epochs without a better one a run of at most so many ends: an eighth, at least 10.

    Validation rows of small tables are few and have heavy tails: half as much, and two of five tables ended far too
    early, at a tenth of their epochs.
    """
    return max(10, round(epochs / 8))
