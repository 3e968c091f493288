"""NumPyro with the recipe of ours: `python -m benchmarks.quality_numpyro_tuned JOB`, with "stages" in the job."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpyro
from numpyro.handlers import seed, substitute, trace
from numpyro.infer import SVI
from numpyro.infer.elbo import ELBO

from benchmarks._snapshots import Layers, Snapshots, of_rows
from benchmarks.numpyro_svi import programs
from benchmarks.quality_numpyro import layers_of

Program = Callable[[Any], None]
AVERAGE_EVERY = 10
"""Steps between weights that enter the mean, as in ours."""


class Dreg(ELBO):
    """Minus the importance-weighted bound with its doubly reparameterized gradient (Tucker et al. 2019, eq. 8 and 10).

    Means over the rows, nats. With one particle it is the ELBO with the gradient of "sticking the landing" (Roeder et
    al. 2017).
    """

    can_infer_discrete = False

    def loss(
        self, rng_key: Any, param_map: Any, model: Program, guide: Program, *args: Any, **kwargs: Any
    ) -> Any:
        """Return the loss, with a gradient of its own."""
        return _loss(model, guide, self.num_particles, param_map, rng_key, *args)


@partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def _loss(model: Program, guide: Program, num_particles: int, parameters: Any, key: Any, x: Any) -> Any:
    return _loss_and_gradient(model, guide, num_particles, parameters, key, x)[0]


def _loss_and_gradient(
    model: Program, guide: Program, num_particles: int, parameters: Any, key: Any, x: Any
) -> Any:
    def draw(parameters: Any) -> Any:
        def one(key: Any) -> Any:
            return trace(substitute(seed(guide, key), data=parameters)).get_trace(x)["z"]["value"]

        return jax.vmap(one)(jax.random.split(key, num_particles))

    def log_weights(parameters: Any, z: Any) -> Any:
        fixed = jax.lax.stop_gradient(parameters)

        def one(z: Any) -> Any:
            joint = trace(substitute(model, data=parameters | {"z": z})).get_trace(x)
            own = trace(substitute(guide, data=fixed | {"z": z})).get_trace(x)
            return _log_prob(joint["z"]) + _log_prob(joint["x"]) - _log_prob(own["z"])

        return jax.vmap(one)(z)

    z, back_to_guide = jax.vjp(draw, parameters)
    log_w, back = jax.vjp(log_weights, parameters, z)
    shares = jax.nn.softmax(log_w, axis=0)
    of_model, of_z = back(-shares / len(x))
    (of_guide,) = back_to_guide(of_z * shares[..., None])
    bound = jax.nn.logsumexp(log_w, axis=0) - math.log(num_particles)
    return -bound.mean(), jax.tree.map(jnp.add, of_model, of_guide)


def _log_prob(site: Any) -> Any:
    return site["fn"].log_prob(site["value"])


def _backward(model: Program, guide: Program, num_particles: int, gradient: Any, up: Any) -> Any:
    return jax.tree.map(lambda g: up * g, gradient), None, None


_loss.defvjp(_loss_and_gradient, _backward)


def _smaller(parameters: Any) -> Any:
    """Return initial weights of variance 1 / (3 inputs), that of PyTorch's linear layers, which ours has."""
    return jax.tree.map(lambda weight: weight / 3**0.5 if weight.ndim > 1 else weight, parameters)


def _rate(training: Any, total: int) -> Callable[[Any], Any]:
    """Return the learning rate of a step: constant, or half a cosine down to 0."""
    if training["schedule"] == "constant":
        return lambda step: jnp.asarray(training["lr"])
    return lambda step: 0.5 * training["lr"] * (1 + jnp.cos(jnp.pi * step / total))


def _moments(grey: Any) -> tuple[Any, Any]:
    """Return mean and standard deviation of the binarized rows by column, the latter at least 0.1."""
    mean = grey.mean(0)
    return mean, jnp.maximum(jnp.sqrt(mean * (1 - mean)), 0.1)


def _layers(parameters: Any, grey: Any) -> tuple[Layers, Layers]:
    """Return the layers as they are written; the encoder's first one includes the standardization of the rows."""
    encoder, decoder = layers_of(parameters)
    mean, std = _moments(grey)
    return [of_rows(encoder[0], mean, std), *encoder[1:]], decoder


def _train(snapshots: Snapshots, training: Any, start: Any, grey: Any, number: int) -> tuple[Any, bool]:
    """Run a stage; return the mean of the weights, and whether the time is over."""
    size, epochs = training["batch_size"], training["epochs"]
    num_batches = len(grey) // size
    adam = numpyro.optim.Adam(_rate(training, epochs * num_batches))
    mean, std = _moments(grey)
    share = jnp.clip(mean, 0.001, 0.999)
    offset = jnp.log(share / (1 - share))
    model, guide = programs(snapshots.network, offset, lambda x: (x - mean) / std)
    svi = SVI(model, guide, adam, Dreg(training["num_particles"]))

    @jax.jit
    def epoch(carry: Any, key: Any) -> Any:
        order, noise = jax.random.split(key)
        index = jax.random.permutation(order, len(grey))[: num_batches * size].reshape(num_batches, size)

        def step(carry: Any, inputs: Any) -> Any:
            state, average, done = carry
            index, key = inputs
            state, loss = svi.update(state, jax.random.bernoulli(key, grey[index]).astype(jnp.float32))
            done = done + 1
            weight = jnp.minimum(1.0, AVERAGE_EVERY / (training["average"] * done))
            average = jax.lax.cond(
                done % AVERAGE_EVERY == 0,
                lambda: jax.tree.map(lambda a, w: a + weight * (w - a), average, svi.get_params(state)),
                lambda: average,
            )
            return (state, average, done), loss

        return jax.lax.scan(step, carry, (index, jax.random.split(noise, num_batches)))[0]

    key = jax.random.PRNGKey(number)
    start = start or _smaller(svi.get_params(svi.init(key, grey[:size])))
    state = svi.init(key, grey[:size], init_params=start)
    carry = (state, svi.get_params(state), 0)
    for key in jax.random.split(jax.random.PRNGKey(1000 + number), epochs):
        carry = jax.block_until_ready(epoch(carry, key))
        if snapshots.over(partial(_layers, carry[1], grey), "exp"):
            return carry[1], True
    return carry[1], False


def main() -> None:
    """Train, one stage after the other, each from the mean of the weights of the one before."""
    snapshots = Snapshots()
    grey, weights = jnp.asarray(snapshots.grey()), None
    for number, stage in enumerate(snapshots.job["stages"]):
        weights, is_over = _train(snapshots, stage["training"], weights, grey, number)
        if is_over:
            return
    snapshots.write(partial(_layers, weights, grey), "exp")


if __name__ == "__main__":
    main()
