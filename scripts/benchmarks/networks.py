"""The networks of the benchmarks."""

from __future__ import annotations

import itertools
import math
from typing import Any, NamedTuple

from benchmarks._names import ByName


class Network(NamedTuple):
    """The network that all contenders train: data_dim-hidden-latent_dim and its mirror, Bernoulli.

    With `channels` each row is a square image of one channel: convolutions of 4 x 4 and stride 2 come before the hidden
    layers, transposed ones after them.
    """

    data_dim: int
    hidden: list[int]
    latent_dim: int
    batch_size: int
    activation: str = "relu"
    num_rows: int = 0
    channels: tuple[int, ...] | list[int] = ()

    @property
    def side(self) -> int:
        """Number of pixels along a side of an image."""
        return math.isqrt(self.data_dim)

    @property
    def smallest(self) -> int:
        """Number of pixels along a side of the smallest feature maps."""
        return self.side >> len(self.channels)

    @property
    def columns(self) -> int:
        """Number of inputs of the linear layers: the columns of a row, or the entries of the last feature maps."""
        return self.channels[-1] * self.smallest**2 if self.channels else self.data_dim

    def rows(self) -> tuple[Any, Any]:
        """Return training rows of zeros and ones, float32 (num_rows, data_dim), and an eleventh as many others."""
        import torch

        generator = torch.Generator().manual_seed(0)
        shape = (self.num_rows + self.num_rows // 11, self.data_dim)
        train, validation = (
            (torch.rand(shape, generator=generator) < 0.2).float().tensor_split([self.num_rows])
        )
        return train, validation


NETWORKS = ByName(
    {
        "784-400-20": Network(784, [400], 20, 128),
        "784-200-200-50": Network(784, [200, 200], 50, 100),
        "784-1000-1000-50": Network(784, [1000, 1000], 50, 256),
        "convolutional": Network(784, [256], 20, 128, channels=[32, 64]),
        "tiny": Network(10, [8], 2, 16),
        "tiny-convolutional": Network(64, [8], 2, 16, channels=[2, 4]),
    }
)
"""Networks by name."""


def flops(network: Network) -> float:
    """Return the operations of the matrix products of a step: forward, and two backward except for the first layer."""
    encoder = [network.columns, *network.hidden, 2 * network.latent_dim]
    decoder = [network.latent_dim, *reversed(network.hidden), network.columns]
    linear = [a * b for widths in (encoder, decoder) for a, b in itertools.pairwise(widths)]
    sizes = [(network.side >> step) ** 2 for step in range(1, 1 + len(network.channels))]
    convolutions = [
        16 * a * b * size
        for (a, b), size in zip(itertools.pairwise([1, *network.channels]), sizes, strict=True)
    ]
    products = [*convolutions, *linear, *convolutions]
    return 2 * network.batch_size * (3 * sum(products) - products[0])
