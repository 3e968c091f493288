"""Learned embeddings of labels as network inputs, instead of one-hot codes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from pyro_vae._checks import InputError, check_integer
from pyro_vae._pickling import Picklable

__all__ = ["EmbeddedLabels", "LabelEmbedding"]


class LabelEmbedding(Picklable):
    """`(inputs, label) -> network(inputs, E[label])` with a learned vector for each class.

    Args:
        network: Network of (rows, features) and context of `embedding_dim` columns.
        num_classes: Number of classes.
        embedding_dim: Size of the vectors.

    Raises:
        InputError: If a number is not a positive integer.
    """

    def __init__(self, network: nn.Module, num_classes: int, embedding_dim: int) -> None:
        super().__init__()
        check_integer(num_classes, "num_classes")
        self.embedding = nn.Embedding(num_classes, check_integer(embedding_dim, "embedding_dim"))
        self.network = network

    def forward(self, inputs: Tensor, labels: Tensor) -> Tensor:
        """Return the network's outputs for inputs (N, features) and labels, int64 (N,)."""
        try:
            vectors = self.embedding(labels)
        except IndexError:
            raise InputError(
                f"Expected labels from 0 to {self.embedding.num_embeddings - 1}, the classes that the network was made "
                f"for; got {int(labels.min())} to {int(labels.max())}."
            ) from None
        outputs: Tensor = self.network(inputs, vectors)
        return outputs


@dataclass(frozen=True)
class EmbeddedLabels:
    """An architecture whose networks take an embedded label as context.

    Args:
        architecture: Factory of the networks; see `Architecture`.
        embedding_dim: Size of the embedding.
    """

    architecture: Any
    embedding_dim: int

    @property
    def dropout(self) -> float:
        """Fraction of the columns of x dropped from the encoder's input in training."""
        return float(getattr(self.architecture, "dropout", 0.0))

    def encoder(self, data_shape: Sequence[int], out_features: int, context_dim: int = 0) -> nn.Module:
        """Return a network from rows and labels of `context_dim` classes to outputs; see `Architecture`."""
        network = self.architecture.encoder(data_shape, out_features, self.embedding_dim)
        return LabelEmbedding(network, context_dim, self.embedding_dim)

    def decoder(
        self, in_features: int, outputs_per_position: int, data_shape: Sequence[int], context_dim: int = 0
    ) -> nn.Module:
        """Return a network from z and labels of `context_dim` classes to outputs; see `Architecture`."""
        network = self.architecture.decoder(in_features, outputs_per_position, data_shape, self.embedding_dim)
        return LabelEmbedding(network, context_dim, self.embedding_dim)
