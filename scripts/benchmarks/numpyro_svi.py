"""The same in NumPyro: `python -m benchmarks.numpyro_svi NETWORK`."""

import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro.infer import SVI, Trace_ELBO

from benchmarks._serve import Network, serve

Program = Callable[[Any], None]


def initial(key: Any, *widths: int) -> list[tuple[Any, Any]]:
    """Return weights and biases."""
    keys = jax.random.split(key, len(widths))
    shapes = itertools.pairwise(widths)
    return [
        (jax.random.normal(k, shape) / shape[0] ** 0.5, jnp.zeros(shape[1]))
        for k, shape in zip(keys, shapes, strict=False)
    ]


def mlp(layers: Any, h: Any, activation: str) -> Any:
    """Apply linear layers with an activation between them."""
    for weight, bias in layers[:-1]:
        h = getattr(jax.nn, activation)(h @ weight + bias)
    return h @ layers[-1][0] + layers[-1][1]


def programs(network: Network, offset: Any = 0.0) -> tuple[Program, Program]:
    """Return model and guide, the decoder's last biases at `offset`."""
    widths = [network.data_dim, *network.hidden]
    encoder = initial(jax.random.PRNGKey(1), *widths, 2 * network.latent_dim)
    decoder = initial(jax.random.PRNGKey(2), network.latent_dim, *reversed(widths))
    decoder[-1] = (decoder[-1][0], decoder[-1][1] + offset)

    def model(x: Any) -> None:
        layers = numpyro.param("decoder", decoder)
        with numpyro.plate("data", len(x)):
            z = numpyro.sample("z", dist.Normal(jnp.zeros(network.latent_dim), 1.0).to_event(1))
            logits = mlp(layers, z, network.activation)
            numpyro.sample("x", dist.Bernoulli(logits=logits).to_event(1), obs=x)

    def guide(x: Any) -> None:
        layers = numpyro.param("encoder", encoder)
        loc, log_scale = jnp.split(mlp(layers, x, network.activation), 2, axis=-1)
        with numpyro.plate("data", len(x)):
            numpyro.sample("z", dist.Normal(loc, jnp.exp(log_scale)).to_event(1))

    return model, guide


def build(network: Network) -> Callable[[int], None]:
    """Return the jitted steps of `SVI.update`."""
    svi = SVI(*programs(network), numpyro.optim.Adam(1e-3), Trace_ELBO())
    shape = (8, network.batch_size, network.data_dim)
    batches = [jnp.asarray(x) for x in (np.random.default_rng(0).random(shape) < 0.2).astype(np.float32)]
    state = svi.init(jax.random.PRNGKey(0), batches[0])
    update = jax.jit(svi.update, donate_argnums=0)

    def steps(n: int) -> None:
        nonlocal state
        for i in range(n):
            state, _loss = update(state, batches[i % 8])
        jax.block_until_ready(state)

    return steps


if __name__ == "__main__":
    serve(build)
