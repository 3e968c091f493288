"""The same in Pyro, in its usual form: `python -m benchmarks.pyro_stock NETWORK [jit]`."""

import sys
from collections.abc import Callable

import pyro
import pyro.distributions as dist
import torch
from pyro.infer import SVI, JitTrace_ELBO, Trace_ELBO
from pyro.optim import Adam
from torch import Tensor, nn

from benchmarks._serve import Network, device, serve
from benchmarks.pytorch import networks

Program = Callable[[Tensor], None]


def programs(encoder: nn.Module, decoder: nn.Module, latent_dim: int) -> tuple[Program, Program]:
    """Return model and guide."""

    def model(x: Tensor) -> None:
        pyro.module("decoder", decoder)
        with pyro.plate("data", len(x)):
            prior = dist.Normal(x.new_zeros(latent_dim), 1.0).to_event(1)
            z = pyro.sample("z", prior.expand([len(x)]))
            pyro.sample("x", dist.Bernoulli(logits=decoder(z)).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        pyro.module("encoder", encoder)
        with pyro.plate("data", len(x)):
            loc, log_scale = encoder(x).chunk(2, dim=-1)
            pyro.sample("z", dist.Normal(loc, log_scale.exp()).to_event(1))

    return model, guide


def build(network: Network) -> Callable[[int], None]:
    """Return a function that runs steps of `SVI`."""
    elbo = JitTrace_ELBO(ignore_jit_warnings=True) if "jit" in sys.argv else Trace_ELBO()
    encoder, decoder = (part.to(device()) for part in networks(network))
    svi = SVI(*programs(encoder, decoder, network.latent_dim), Adam({"lr": 1e-3}), elbo)
    batches = (torch.rand(8, network.batch_size, network.data_dim) < 0.2).float().to(device())

    def steps(n: int) -> None:
        for i in range(n):
            svi.step(batches[i % 8])

    return steps


if __name__ == "__main__":
    serve(build)
