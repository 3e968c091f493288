"""A variational autoencoder by hand in PyTorch: `python -m benchmarks.pytorch NETWORK [compile] [channels-last]`."""

import itertools
import sys
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from benchmarks._serve import Network, device, serve

ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh}
MODE = "reduce-overhead" if device() == "cuda" else None
"""Mode of torch.compile: on a GPU the one that replays CUDA graphs."""


def mlp(*widths: int, activation: str = "relu") -> nn.Sequential:
    """Return linear layers with an activation between them."""
    layers: list[nn.Module] = []
    for n_in, n_out in itertools.pairwise(widths):
        layers += [nn.Linear(n_in, n_out), ACTIVATIONS[activation]()]
    return nn.Sequential(*layers[:-1])


def networks(network: Network) -> tuple[nn.Sequential, nn.Sequential]:
    """Return encoder and decoder."""
    widths = [network.columns, *network.hidden]
    encoder = mlp(*widths, 2 * network.latent_dim, activation=network.activation)
    decoder = mlp(network.latent_dim, *reversed(widths), activation=network.activation)
    return convolutional(network, encoder, decoder) if network.channels else (encoder, decoder)


def convolutional(
    network: Network, encoder: nn.Sequential, decoder: nn.Sequential
) -> tuple[nn.Sequential, nn.Sequential]:
    """Return networks with convolutions before the linear layers of the encoder and after those of the decoder."""
    side, smallest, activation = network.side, network.smallest, ACTIVATIONS[network.activation]
    down: list[nn.Module] = [nn.Unflatten(1, (1, side, side))]
    up: list[nn.Module] = [activation(), nn.Unflatten(1, (network.channels[-1], smallest, smallest))]
    for n_in, n_out in itertools.pairwise([1, *network.channels]):
        down += [nn.Conv2d(n_in, n_out, 4, stride=2, padding=1), activation()]
    for n_in, n_out in itertools.pairwise([*reversed(network.channels), 1]):
        up += [nn.ConvTranspose2d(n_in, n_out, 4, stride=2, padding=1), activation()]
    return nn.Sequential(*down, nn.Flatten(), *encoder), nn.Sequential(*decoder, *up[:-1], nn.Flatten())


class VAE(nn.Module):
    """Minus the ELBO of a batch, with the divergence in closed form."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.encoder, self.decoder = networks(network)

    def forward(self, x: Tensor) -> Tensor:
        """Return the loss."""
        loc, log_variance = self.encoder(x).chunk(2, dim=-1)
        z = loc + torch.randn_like(loc) * torch.exp(0.5 * log_variance)
        nll = binary_cross_entropy_with_logits(self.decoder(z), x, reduction="sum")
        kl = -0.5 * torch.sum(1 + log_variance - loc.square() - log_variance.exp())
        return (nll + kl) / len(x)


def build(network: Network) -> Callable[[int], None]:
    """Return a function that runs steps of fused Adam."""
    model = VAE(network).to(device())
    if "channels-last" in sys.argv:
        model.to(memory_format=torch.channels_last)
    loss = torch.compile(model, mode=MODE) if "compile" in sys.argv else model
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    batches = (torch.rand(8, network.batch_size, network.data_dim) < 0.2).float().to(device())

    def steps(n: int) -> None:
        for i in range(n):
            optimizer.zero_grad(set_to_none=True)
            loss(batches[i % 8]).backward()
            optimizer.step()

    return steps


if __name__ == "__main__":
    serve(build)
