"""Construction of the model and the guide of a configuration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pyro_vae._checks import check
from pyro_vae.data import Split
from pyro_vae.data.columns import Column
from pyro_vae.data.contexts import ClassContext, Context
from pyro_vae.experiment.build_context import context_prior, semi_supervised, with_embedding
from pyro_vae.experiment.build_layers import build_layers, in_precision
from pyro_vae.experiment.config import ModelConfig
from pyro_vae.guides import AmortizedGuide
from pyro_vae.likelihoods.base import Likelihood, fill_constant, typical_scale
from pyro_vae.likelihoods.noiseless import has_one_unit, noiseless
from pyro_vae.likelihoods.table import TableLikelihood
from pyro_vae.models.generative import GenerativeModel
from pyro_vae.networks.architecture import Architecture, standardized_encoder, table_encoder
from pyro_vae.networks.corruption import CorruptedInput
from pyro_vae.networks.table_features import TableFeatures
from pyro_vae.settings.latents import with_parts_of_latent

__all__ = ["build", "num_components", "starting_rows"]


def build(
    config: ModelConfig,
    mean: Tensor,
    std: Tensor,
    seed: int = 0,
    rows: Tensor | None = None,
    data_shape: Sequence[int] | None = None,
    context_dim: int = 0,
    architecture: Architecture | None = None,
    levels: int | None = None,
    context: Context | None = None,
    columns: Sequence[Column] | None = None,
) -> tuple[GenerativeModel, AmortizedGuide]:
    """Return the model and the guide of a configuration, with fresh weights.

    Args:
        config: Configuration, with `scale_floor` or `fixed_scale` given if the likelihood needs it.
        mean: Mean of each column of the training split, shape (data_dim,), in data units.
        std: Standard deviation of each column, shape (data_dim,).
        seed: Seed of the initial weights; the random state is restored.
        rows: Initial values of the learned rows of a VampPrior, shape (components, data_dim); see `starting_rows`.
            Drawn from a normal of that mean and standard deviation if None.
        data_shape: Shape of one row, for networks of images; (data_dim,) if None.
        context_dim: Columns of the context that encoder and decoder take: those of float tensors plus the number of
            classes of labels; 0 for no context.
        architecture: Architecture of the networks; that of the configuration if None.
        levels: Number of integer levels, for a likelihood that gives them probabilities.
        context: Description of the context, in place of `context_dim`; with partly missing labels the programs are
            those of semi-supervised training.
        columns: Kinds of the columns, for the likelihood of tables; all are real if None.

    Raises:
        InputError: If the likelihood needs levels and none are given.
    """
    latent = config.part("latent")
    config = replace(config, **with_parts_of_latent(latent, {"guide": config.guide, "prior": config.prior}))
    size, width = latent.make(config.latent_dim), latent.width(config.latent_dim)
    shape, network = data_shape or (len(mean),), architecture or config.part("network").make()
    context_dim = context_dim if context is None else context.dim
    made = with_embedding(config, network)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        known = {"levels": levels, "data_shape": shape, "columns": columns or _real_columns(len(mean))}
        likelihood = _likelihood(config, mean, std, known)
        outputs = likelihood.outputs_per_position(shape)
        one_unit = has_one_unit(shape, levels) or likelihood.kind != "continuous"
        corrupted, seen_mean, seen_std = _seen(config.part("corrupt"), mean, std, one_unit)
        scale = _encoder_scale(likelihood, seen_std)

        def make_decoder(in_features: int) -> nn.Module:
            positions = likelihood.decoder_shape(shape)
            return in_precision(config, made.decoder(in_features, outputs, positions, context_dim))

        def make_encoder(num_outputs: int) -> nn.Module:
            if isinstance(likelihood, TableLikelihood):
                features = TableFeatures(mean, fill_constant(std), likelihood.columns)
                return in_precision(config, table_encoder(made, features, num_outputs, context_dim))
            encoder = standardized_encoder(made, seen_mean, scale, shape, num_outputs, context_dim)
            return in_precision(config, corrupted(encoder))

        def make_prior(latent: Any, guide: nn.Module) -> nn.Module:
            start = mean + std * torch.randn(num_components(config), len(mean)) if rows is None else rows
            prior: nn.Module = config.part("prior").make(latent, guide, start.to(torch.get_default_dtype()))
            return prior

        if config.layers:
            return build_layers(config, likelihood, make_encoder, make_decoder, make_prior)
        decoder = make_decoder(width)
        guide = config.part("guide").make(make_encoder, size)
        prior = context_prior(config, context_dim) or make_prior(size, guide)
        if isinstance(context, ClassContext) and context.partial:
            classifier = corrupted(standardized_encoder(network, seen_mean, scale, shape, context_dim))
            return semi_supervised(prior, decoder, likelihood, guide, classifier, context_dim)
    return GenerativeModel(prior, decoder, likelihood), guide


def _real_columns(count: int) -> list[Column]:
    """Return the default description of columns without names: numbers."""
    return [Column(f"column {number}", "real") for number in range(count)]


def _likelihood(config: ModelConfig, mean: Tensor, std: Tensor, known: dict[str, Any]) -> Likelihood:
    """Return the likelihood, built from those of the known values that it needs; without noise for a point guide."""
    part = config.part("likelihood")
    needed = {name: known[name] for name in part.needs}
    check(
        None not in needed.values(),
        f"Expected levels for the {part.name} likelihood, the number of integers that x can be; got none. Give levels.",
    )
    made: Likelihood = part.make(mean, std, **needed)
    if config.part("guide").is_point:
        return noiseless(made, config.reconstruction, has_one_unit(known["data_shape"], known["levels"]))
    return made


def _seen(
    part: Any, mean: Tensor, std: Tensor, one_unit: bool
) -> tuple[Callable[[nn.Module], nn.Module], Tensor, Tensor]:
    """Return the function that corrupts the input of an encoder, and mean and std of each corrupted column."""
    scale, fill = (torch.ones_like(std), torch.zeros_like(mean)) if one_unit else (fill_constant(std), mean)
    corruption = part.make(scale, fill)
    if corruption is None:
        return lambda encoder: encoder, mean, std
    seen_mean, variance = corruption.moments(mean, std.square())
    return (
        lambda encoder: CorruptedInput(corruption, encoder, part.evaluation_input),
        seen_mean,
        variance.sqrt(),
    )


def num_components(config: ModelConfig) -> int:
    """Return the number of components of the prior, 1 if it has no components."""
    return int(config.prior_components or config.part("prior").components)


def starting_rows(config: ModelConfig, train: Split) -> Tensor:
    """Return evenly spaced training rows, one for each component of the prior.

    Args:
        config: The prior and its number of components.
        train: The training split; rows are taken under its fixed draw.

    Returns:
        Shape (components, data_dim), in data units.
    """
    # Truncated, unlike `evenly_spaced_rows`, so that training starts at the same rows as in 0.1.0.
    chosen = np.linspace(0, len(train) - 1, num_components(config)).astype(np.int64)
    return train.select(chosen).tensor()


def _encoder_scale(likelihood: Likelihood, std: Tensor) -> Tensor:
    """Return the divisor of each column of the encoder's input.

    Integers share one unit, and all columns are divided by their typical standard deviation.

    Zeros and ones are not rescaled: a step of Adam changes a unit of the first layer in proportion to the sum of all
    columns, so larger inputs are fitted faster than they generalise. Divided by its own standard deviation, a pixel
    that is set once in 10 000 rows would have the value 100, and the encoder would recognise training rows by their
    rare pixels.
    """
    if likelihood.kind == "integer":
        return torch.full_like(std, typical_scale(std))
    return torch.ones_like(std) if likelihood.kind == "binary" else fill_constant(std)
