"""Architectures: factories of encoders and decoders for a row shape."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn

from pyro_vae._checks import check
from pyro_vae.networks.image_networks import image_shape
from pyro_vae.networks.mlp import MLP, ContextMLP
from pyro_vae.networks.standardize import Standardize, StandardizedEncoder
from pyro_vae.networks.table_features import TableFeatures

__all__ = ["Architecture", "MLPArchitecture", "num_positions", "standardized_encoder"]


class Architecture(Protocol):
    """Protocol of factories of encoders and decoders for a row shape.

    Rows are flat outside the networks, channels first; networks for images reshape them to `data_shape`. With
    `context_dim` above 0 networks are called as `network(inputs, *context)`; the float columns and the one-hot width of
    labels add up to `context_dim` (see `context_columns`).

    An optional attribute `dropout` is the fraction of the columns of x that is dropped from the encoder's input in
    training.
    """

    def encoder(self, data_shape: Sequence[int], out_features: int, context_dim: int = 0) -> nn.Module:
        """Return a network from standardized rows (N, prod(data_shape)) to outputs (N, out_features).

        Args:
            data_shape: Shape of a row: (D,), (height, width), or (channels, height, width).
            out_features: Number of outputs, as required by the guide.
            context_dim: Number of context columns.
        """

    def decoder(
        self, in_features: int, outputs_per_position: int, data_shape: Sequence[int], context_dim: int = 0
    ) -> nn.Module:
        """Return a network from z (N, in_features) to outputs (N, outputs_per_position * num_positions(data_shape)).

        Outputs are ordered like flattened feature maps of shape (outputs_per_position, height, width): all locations,
        channel by channel, then all scales.

        Args:
            in_features: Size of z.
            outputs_per_position: Outputs per pixel (all channels together) or per column of a table:
                `likelihood.outputs_per_position(data_shape)`.
            data_shape: Shape of a row.
            context_dim: Number of context columns.
        """


@dataclass(frozen=True)
class MLPArchitecture:
    """Multilayer perceptrons on flat rows, concatenated with context.

    Args:
        hidden: Widths of the encoder's hidden layers; reversed for the decoder.
        activation: One of `ACTIVATIONS`.
        dropout: Fraction of the columns of x dropped from the encoder's input in training, in [0, 1).
    """

    hidden: tuple[int, ...] = (400, 400)
    activation: str = "silu"
    dropout: float = 0.0

    def encoder(self, data_shape: Sequence[int], out_features: int, context_dim: int = 0) -> nn.Module:
        """Return an `MLP` from rows and context to outputs; see `Architecture`."""
        return self._network(math.prod(data_shape), self.hidden, out_features, context_dim)

    def decoder(
        self, in_features: int, outputs_per_position: int, data_shape: Sequence[int], context_dim: int = 0
    ) -> nn.Module:
        """Return an `MLP` from z and context to outputs; see `Architecture`."""
        outputs = outputs_per_position * num_positions(data_shape)
        return self._network(in_features, self.hidden[::-1], outputs, context_dim)

    def _network(
        self, in_features: int, hidden: Sequence[int], out_features: int, context_dim: int
    ) -> nn.Module:
        if context_dim == 0:
            return MLP(in_features, hidden, out_features, self.activation)
        return ContextMLP(in_features, hidden, out_features, self.activation, context_dim)


def num_positions(data_shape: Sequence[int]) -> int:
    """Return the number of pixels of an image, (height, width) or (channels, height, width), or columns of a table."""
    return math.prod(data_shape[-2:])


def standardized_encoder(
    architecture: Architecture,
    loc: Tensor,
    scale: Tensor,
    data_shape: Sequence[int],
    out_features: int,
    context_dim: int = 0,
) -> nn.Module:
    """Return an architecture's encoder for rows in data units, with standardization and dropout of columns.

    Args:
        architecture: Factory of the network.
        loc: Shift of x, shape (data_dim,): the mean of the training split.
        scale: Scale of x, shape (data_dim,).
        data_shape: Shape of a row.
        out_features: Number of outputs, as required by the guide.
        context_dim: Number of context columns.

    Raises:
        InputError: If the dropout is out of range.
    """
    dropout = getattr(architecture, "dropout", 0.0)
    check(0 <= dropout < 1, f"Expected dropout in [0, 1), a fraction of the columns; got {dropout}.")
    network = architecture.encoder(data_shape, out_features, context_dim)
    image = image_shape(data_shape) if len(data_shape) in (2, 3) else None
    return StandardizedEncoder(Standardize(loc, scale), nn.Dropout(dropout), network, image)


def table_encoder(
    architecture: Architecture, features: TableFeatures, out_features: int, context_dim: int = 0
) -> nn.Module:
    """Return an architecture's encoder for rows of a table, with dropout of features.

    Args:
        architecture: Factory of the network.
        features: Map from rows to network inputs.
        out_features: Number of outputs, as required by the guide.
        context_dim: Number of context columns.
    """
    network = architecture.encoder((features.num_features,), out_features, context_dim)
    return StandardizedEncoder(features, nn.Dropout(getattr(architecture, "dropout", 0.0)), network)
