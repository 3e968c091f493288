"""The same in NumPyro: `python -m benchmarks.numpyro_svi NETWORK`."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro.infer import SVI, Trace_ELBO

from benchmarks import jax_networks
from benchmarks._serve import Network, serve

Program = Callable[[Any], None]


def programs(
    network: Network, offset: Any = 0.0, standardized: Callable[[Any], Any] = lambda x: x
) -> tuple[Program, Program]:
    """Return model and guide; the last biases of the decoder are `offset`, the encoder reads `standardized(x)`."""
    encoder = jax_networks.encoder(network, jax.random.PRNGKey(1))
    decoder = jax_networks.decoder(network, jax.random.PRNGKey(2))
    decoder[-1] = (decoder[-1][0], decoder[-1][1] + offset)

    def model(x: Any) -> None:
        layers = numpyro.param("decoder", decoder)
        with numpyro.plate("data", len(x)):
            z = numpyro.sample("z", dist.Normal(jnp.zeros(network.latent_dim), 1.0).to_event(1))
            logits = jax_networks.decode(network, layers, z)
            numpyro.sample("x", dist.Bernoulli(logits=logits).to_event(1), obs=x)

    def guide(x: Any) -> None:
        layers = numpyro.param("encoder", encoder)
        loc, log_scale = jnp.split(jax_networks.encode(network, layers, standardized(x)), 2, axis=-1)
        with numpyro.plate("data", len(x)):
            numpyro.sample("z", dist.Normal(loc, jnp.exp(log_scale)).to_event(1))

    return model, guide


def build(network: Network) -> Callable[[int], None]:
    """Return a function that runs jitted steps of `SVI.update`."""
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
