"""NumPyro, one jitted loop per epoch, with the published recipe: `python -m benchmarks.quality_numpyro JOB`."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
from numpyro.infer import SVI, Trace_ELBO

from benchmarks._snapshots import ADAM, Layers, Snapshots, learning_rates
from benchmarks.numpyro_svi import programs


def layers_of(parameters: Any) -> tuple[Layers, Layers]:
    """Return the layers of encoder and decoder as they are written, weights (outputs, inputs)."""
    encoder, decoder = (
        [(np.asarray(weight).T, np.asarray(bias)) for weight, bias in parameters[name]]
        for name in ("encoder", "decoder")
    )
    return encoder, decoder


def main() -> None:
    """Train."""
    snapshots = Snapshots()
    grey, size = jnp.asarray(snapshots.grey()), snapshots.network.batch_size
    num_batches = len(grey) // size
    rates, (b1, b2) = jnp.asarray(list(learning_rates())), ADAM["betas"]
    adam = numpyro.optim.Adam(lambda step: rates[step // num_batches], b1, b2, ADAM["eps"])
    share = jnp.clip(grey.mean(0), 0.001, 0.999)
    svi = SVI(*programs(snapshots.network, jnp.log(share / (1 - share))), adam, Trace_ELBO())

    @jax.jit
    def epoch(state: Any, grey: Any, key: Any) -> Any:
        order, noise = jax.random.split(key)
        index = jax.random.permutation(order, len(grey))[: num_batches * size].reshape(num_batches, size)

        def step(state: Any, inputs: Any) -> Any:
            index, key = inputs
            return svi.update(state, jax.random.bernoulli(key, grey[index]).astype(jnp.float32))

        return jax.lax.scan(step, state, (index, jax.random.split(noise, num_batches)))[0]

    state = svi.init(jax.random.PRNGKey(0), grey[:size])
    for number in range(len(rates)):
        state = jax.block_until_ready(epoch(state, grey, jax.random.PRNGKey(number)))
        if snapshots.over(partial(layers_of, svi.get_params(state)), "exp"):
            return


if __name__ == "__main__":
    main()
