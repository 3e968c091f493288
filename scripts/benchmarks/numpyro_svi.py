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


def initial(key: Any, *widths: int) -> list[tuple[Any, Any]]:
    """Return weights and biases."""
    keys = jax.random.split(key, len(widths))
    shapes = itertools.pairwise(widths)
    return [
        (jax.random.normal(k, shape) / shape[0] ** 0.5, jnp.zeros(shape[1]))
        for k, shape in zip(keys, shapes, strict=False)
    ]


def mlp(layers: Any, h: Any) -> Any:
    """Apply linear layers with relu between them."""
    for weight, bias in layers[:-1]:
        h = jax.nn.relu(h @ weight + bias)
    return h @ layers[-1][0] + layers[-1][1]


def build(network: Network) -> Callable[[int], None]:
    """Return the jitted steps of `SVI.update`."""
    widths = [network.data_dim, *network.hidden]
    encoder = initial(jax.random.PRNGKey(1), *widths, 2 * network.latent_dim)
    decoder = initial(jax.random.PRNGKey(2), network.latent_dim, *reversed(widths))

    def model(x: Any) -> None:
        layers = numpyro.param("decoder", decoder)
        with numpyro.plate("data", len(x)):
            z = numpyro.sample("z", dist.Normal(jnp.zeros(network.latent_dim), 1.0).to_event(1))
            numpyro.sample("x", dist.Bernoulli(logits=mlp(layers, z)).to_event(1), obs=x)

    def guide(x: Any) -> None:
        layers = numpyro.param("encoder", encoder)
        loc, log_scale = jnp.split(mlp(layers, x), 2, axis=-1)
        with numpyro.plate("data", len(x)):
            numpyro.sample("z", dist.Normal(loc, jnp.exp(log_scale)).to_event(1))

    svi = SVI(model, guide, numpyro.optim.Adam(1e-3), Trace_ELBO())
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
