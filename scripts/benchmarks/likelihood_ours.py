"""Our log-likelihood of rows, or a part of its work: `python -m benchmarks.likelihood_ours NETWORK [WORD]`.

WORD is compile, products (the matrix products of the decoder, into memory that is there) or decoder (its forward pass).
"""

import itertools
import sys
from collections.abc import Callable

from pyro_vae._environment import limit_thread_spinning

limit_thread_spinning()

import torch

from benchmarks._serve import Network, device, serve
from benchmarks.likelihood import NUM_SAMPLES
from pyro_vae.evaluate import log_likelihood
from pyro_vae.experiment.build import build
from pyro_vae.experiment.config import ModelConfig

AT_ONCE = 1000
"""Number of samples of z in one call of the decoder alone."""


def rows_of(network: Network) -> Callable[[int], None]:
    """Return a function that evaluates n rows."""
    rows = (torch.rand(100, network.data_dim) < 0.2).float()
    config = ModelConfig(
        likelihood="bernoulli",
        latent_dim=network.latent_dim,
        hidden=tuple(network.hidden),
        activation="relu",
    )
    model, guide = build(config, rows.mean(0), rows.std(0))
    model.to(device()).eval(), guide.to(device()).eval()

    mode = "on" if "compile" in sys.argv else "off"

    def evaluate(n: int) -> None:
        log_likelihood(model, guide, rows[torch.arange(n) % len(rows)], NUM_SAMPLES, compile=mode)

    widths = [network.latent_dim, *reversed(network.hidden), network.data_dim]
    weights = [torch.randn(b, a, device=device()) for a, b in itertools.pairwise(widths)]
    values = [torch.randn(AT_ONCE, width, device=device()) for width in widths]

    def multiply(n: int) -> None:
        for _ in range(n * NUM_SAMPLES // AT_ONCE):
            for inputs, weight, outputs in zip(values, weights, values[1:], strict=False):
                torch.mm(inputs, weight.t(), out=outputs)

    @torch.no_grad()
    def decode(n: int) -> None:
        z = torch.randn(AT_ONCE, network.latent_dim, device=device())
        for _ in range(n * NUM_SAMPLES // AT_ONCE):
            model.decoder(z)

    return {"decoder": decode, "products": multiply}.get(sys.argv[-1], evaluate)


if __name__ == "__main__":
    serve(rows_of)
