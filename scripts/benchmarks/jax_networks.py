"""The networks in JAX: initial weights and application."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks._serve import Network

Layers = list[tuple[Any, Any]]


def encoder(network: Network, key: Any) -> Layers:
    """Return the initial weights and biases of the encoder."""
    widths = [network.columns, *network.hidden, 2 * network.latent_dim]
    maps = itertools.pairwise([1, *network.channels] if network.channels else [])
    return _initial(key, [(4, 4, *pair) for pair in maps], list(itertools.pairwise(widths)))


def decoder(network: Network, key: Any) -> Layers:
    """Return the initial weights and biases of the decoder."""
    widths = [network.latent_dim, *reversed(network.hidden), network.columns]
    maps = itertools.pairwise([*reversed(network.channels), 1] if network.channels else [])
    return _initial(key, list(itertools.pairwise(widths)), [(4, 4, *pair) for pair in maps])


def encode(network: Network, layers: Layers, x: Any) -> Any:
    """Apply the encoder to rows."""
    count = len(network.channels)
    if not count:
        return _mlp(layers, x, network.activation)
    h = x.reshape(-1, network.side, network.side, 1)
    for weight, bias in layers[:count]:
        h = jax.lax.conv_general_dilated(
            h, weight, (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        h = _activation(network)(h + bias)
    return _mlp(layers[count:], h.reshape(len(x), -1), network.activation)


def decode(network: Network, layers: Layers, z: Any) -> Any:
    """Apply the decoder to z."""
    count = len(network.channels)
    if not count:
        return _mlp(layers, z, network.activation)
    h = _mlp(layers[:-count], z, network.activation)
    h = h.reshape(-1, network.smallest, network.smallest, network.channels[-1])
    for weight, bias in layers[-count:]:
        h = _activation(network)(h)
        h = (
            jax.lax.conv_transpose(h, weight, (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
            + bias
        )
    return h.reshape(len(z), -1)


def _initial(key: Any, *shapes: list[tuple[int, ...]]) -> Layers:
    """Return weights of variance 1 / inputs, and biases of 0."""
    every = [shape for group in shapes for shape in group]
    keys = jax.random.split(key, len(every) + 1)
    return [
        (jax.random.normal(k, shape) / jnp.prod(jnp.array(shape[:-1])) ** 0.5, jnp.zeros(shape[-1]))
        for k, shape in zip(keys, every, strict=False)
    ]


def _mlp(layers: Layers, h: Any, activation: str) -> Any:
    """Apply linear layers with an activation between them."""
    for weight, bias in layers[:-1]:
        h = getattr(jax.nn, activation)(h @ weight + bias)
    return h @ layers[-1][0] + layers[-1][1]


def _activation(network: Network) -> Any:
    return getattr(jax.nn, network.activation)
