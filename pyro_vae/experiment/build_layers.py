"""Construction of a model and a guide with several latent layers."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

from torch import nn

from pyro_vae.experiment.config import ModelConfig
from pyro_vae.guides.base import MakeEncoder
from pyro_vae.guides.bottom_up import BottomUpGuide
from pyro_vae.guides.ladder import LadderGuide, TopOfLadder
from pyro_vae.guides.layered import LayeredGuide
from pyro_vae.likelihoods.base import Likelihood
from pyro_vae.models.hierarchical import HierarchicalModel
from pyro_vae.networks.bfloat16 import Bfloat16Training
from pyro_vae.networks.leading_columns import LeadingColumns
from pyro_vae.networks.mlp import MLP
from pyro_vae.priors.hierarchical import HierarchicalPrior, NormalLayer

__all__ = ["build_layers", "in_precision"]

MakeNetwork = Callable[[int], nn.Module]
"""Function from a number of inputs to a network."""


def in_precision(config: ModelConfig, network: nn.Module) -> nn.Module:
    """Return the network with its matrix products in the configured precision."""
    return Bfloat16Training(network) if config.precision == "bf16" else network


def build_layers(
    config: ModelConfig,
    likelihood: Likelihood,
    make_encoder: MakeEncoder,
    make_decoder: MakeNetwork,
    make_prior: Callable[[int, nn.Module], nn.Module],
) -> tuple[HierarchicalModel, LayeredGuide]:
    """Return the model and the guide with several latent layers of a configuration, with fresh weights.

    Args:
        config: Configuration with `layers`.
        likelihood: Likelihood of x.
        make_encoder: Function from a number of outputs to a network of x.
        make_decoder: Function from a number of inputs to a network that returns the likelihood's parameters.
        make_prior: Function from the size of the top layer, and a guide with its posterior, to its prior.
    """
    sizes = {f"z{number}": size for number, size in enumerate(config.layers, 1)}
    decoder = _reading(config, config.layers, make_decoder)
    layers = [_layer(config, number) for number in range(1, len(sizes))]
    guide: LayeredGuide
    if config.inference == "ladder":
        guide = _ladder(config, make_encoder, layers, sizes)
        top = make_prior(config.layers[-1], TopOfLadder(guide))
    else:
        guide = _bottom_up(config, make_encoder, sizes)
        top = make_prior(config.layers[-1], guide)
    return HierarchicalModel(HierarchicalPrior(top, layers, config.layers), decoder, likelihood), guide


def _reading(config: ModelConfig, above: Sequence[int], make: MakeNetwork) -> nn.Module:
    """Return a network of the nearest layer above, or of all layers above if there are skip connections."""
    return make(sum(above)) if config.skip else LeadingColumns(make(above[0]), above[0])


def _layer(config: ModelConfig, number: int) -> nn.Module:
    """Return p(z_number | layers above): the mirror of the guide's network between the two layers."""
    size, above = config.layers[number - 1], config.layers[number:]
    hidden = config.hidden_between(size)[::-1]
    return NormalLayer(_reading(config, above, lambda inputs: _mlp(config, inputs, hidden, 2 * size)))


def _bottom_up(config: ModelConfig, make_encoder: MakeEncoder, sizes: dict[str, int]) -> BottomUpGuide:
    family, features = config.part("guide"), _num_features(config) if config.skip else 0
    parts = [family.make(lambda outputs: make_encoder(outputs + features), config.layers[0])]
    for below, size in itertools.pairwise(config.layers):

        def make(outputs: int, below: int = below) -> nn.Module:
            return _mlp(config, below + features, config.hidden_between(below), outputs)

        parts.append(family.make(make, size))
    return BottomUpGuide(parts, sizes, features)


def _ladder(
    config: ModelConfig, make_encoder: MakeEncoder, layers: Sequence[nn.Module], sizes: dict[str, int]
) -> LadderGuide:
    features = _num_features(config)
    upper: list[nn.Module] = []
    for below, size in itertools.pairwise(config.layers):
        passed = 0 if len(upper) == len(layers) - 1 else features
        upper.append(_mlp(config, features, config.hidden_between(below), 2 * size + passed))
    return LadderGuide(make_encoder(2 * config.layers[0] + features), upper, layers, sizes)


def _num_features(config: ModelConfig) -> int:
    """Return the number of outputs of the networks of x in addition to the parameters of a layer."""
    return config.hidden_between(config.layers[0])[0]


def _mlp(config: ModelConfig, inputs: int, hidden: Sequence[int], outputs: int) -> nn.Module:
    return in_precision(config, MLP(inputs, hidden, outputs, config.activation))
