"""The networks that contenders are timed on."""

from __future__ import annotations

import itertools

from benchmarks._names import ByName

NETWORKS = ByName(
    {
        "784-400-20": (784, [400], 20, 128),
        "784-200-200-50": (784, [200, 200], 50, 100),
        "784-1000-1000-50": (784, [1000, 1000], 50, 256),
        "tiny": (10, [8], 2, 16),
    }
)
"""Networks by name: columns, hidden widths, size of z, batch size."""


def flops(data_dim: int, hidden: list[int], latent_dim: int, batch_size: int) -> float:
    """Return the operations of a step's matrix products: forwards, and twice backwards but for the first layer."""
    encoder = [data_dim, *hidden, 2 * latent_dim]
    decoder = [latent_dim, *reversed(hidden), data_dim]
    sizes = [a * b for widths in (encoder, decoder) for a, b in itertools.pairwise(widths)]
    return 2 * batch_size * (3 * sum(sizes) - sizes[0])
