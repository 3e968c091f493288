"""From a configuration to the programs that it names, and what it leaves open chosen from the data."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any, Literal, cast

import torch
from torch import Tensor

from pyro_vae._checks import check, check_choice
from pyro_vae.compiled import worth_compiling
from pyro_vae.config import Config, ModelConfig, TrainingConfig
from pyro_vae.data import DataSet
from pyro_vae.guides import DiagonalNormalGuide
from pyro_vae.likelihoods import LIKELIHOODS, Likelihood, fill_constant, typical_scale
from pyro_vae.models import GenerativeModel
from pyro_vae.networks import mlp_decoder, mlp_encoder
from pyro_vae.objectives import ELBO
from pyro_vae.priors import StandardNormal
from pyro_vae.training import Schedule

__all__ = ["build", "default_epochs", "fit_settings", "resolve"]

SCALE_SETTINGS = {"gaussian-fixed": "fixed_scale", "bernoulli": None}
"""Which setting of a likelihood's scale it takes; all others take "scale_floor"."""


def build(
    config: ModelConfig, mean: Tensor, std: Tensor, seed: int = 0
) -> tuple[GenerativeModel, DiagonalNormalGuide]:
    """Return the model and the guide that a configuration names, with fresh weights.

    Args:
        config: With `scale_floor` or `fixed_scale` given where the likelihood needs it.
        mean: Mean of each column of the training split, shape (data_dim,), in data units.
        std: Standard deviation of each column, shape (data_dim,).
        seed: Of the first weights; the random state is put back.
    """
    check_choice(config.likelihood, LIKELIHOODS, "likelihood")
    setting = SCALE_SETTINGS.get(config.likelihood, "scale_floor")
    settings = {setting: getattr(config, setting)} if setting else {}
    num_outputs = DiagonalNormalGuide.num_outputs(config.latent_dim)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        likelihood = LIKELIHOODS[config.likelihood](mean, std, **settings)
        decoder = mlp_decoder(config.latent_dim, config.hidden, likelihood.num_outputs, config.activation)
        scale = _encoder_scale(likelihood, std)
        encoder = mlp_encoder(mean, scale, config.hidden, num_outputs, config.activation, config.dropout)
    model = GenerativeModel(StandardNormal(config.latent_dim), decoder, likelihood)
    return model, DiagonalNormalGuide(encoder)


def _encoder_scale(likelihood: Likelihood, std: Tensor) -> Tensor:
    """Return what the encoder divides each column by.

    Zeros and ones have one unit. Divided by its own standard deviation, a pixel that is set once in 10 000
    rows would enter at 100, and the encoder would know training rows by their rare pixels.
    """
    if likelihood.kind == "binary":
        return torch.full_like(std, typical_scale(std))
    return fill_constant(std)


def resolve(config: Config, dataset: DataSet, std: Tensor, device: str) -> Config:
    """Return the configuration with everything that was left open filled in.

    Args:
        config: As given.
        dataset: What will be trained on.
        std: Standard deviation of each column of the training split, shape (data_dim,), in data units.
        device: The device that "auto" stands for.

    Raises:
        InputError: If a scale is given that the likelihood does not use.
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
    training = config.training
    epochs = training.epochs or default_epochs(len(dataset.train), training.batch_size)
    compiled = training.compile
    if compiled == "auto":
        compiled = "on" if worth_compiling(epochs * -(-len(dataset.train) // training.batch_size)) else "off"
    place = cast(Literal["cpu", "cuda"], device)
    return replace(config, training=replace(training, epochs=epochs, device=place, compile=compiled))


def _scale(name: str, dataset: DataSet, std: Tensor) -> float:
    """Return the scale that is used where none is given, in data units.

    The floor is a hundredth of a typical column's standard deviation where all columns have one unit, as
    pixels have, and of the least varying column's where each has its own.
    """
    one_unit = dataset.is_image or dataset.preprocessing.levels is not None
    if name == "fixed_scale":
        return 0.5 * typical_scale(std)
    return 0.01 * (typical_scale(std) if one_unit else float(fill_constant(std).min()))


def fit_settings(training: TrainingConfig) -> dict[str, Any]:
    """Return what `fit` and `make_trainer` take from a resolved configuration, by the names of their arguments."""
    return {
        "objective": ELBO(training.num_particles),
        "epochs": training.epochs,
        "batch_size": training.batch_size,
        "optimizer": partial(
            torch.optim.AdamW, lr=training.lr, weight_decay=training.weight_decay, fused=True
        ),
        "schedule": Schedule(training.schedule, training.warmup),
        "clip_norm": training.clip_norm,
        "patience": training.patience,
        "device": training.device,
        "compile": training.compile,
        "seed": training.seed,
    }


def default_epochs(num_rows: int, batch_size: int) -> int:
    """Return the number of epochs that makes about 5000 steps, at least 20 and at most 1000."""
    steps = -(-num_rows // batch_size)
    return min(max(round(5_000 / steps), 20), 1000)
