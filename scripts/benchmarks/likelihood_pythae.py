"""The same in pythae: `python -m benchmarks.likelihood_pythae NETWORK`."""

from collections.abc import Callable

import torch
from pythae.models import VAE, VAEConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from torch import Tensor, nn

from benchmarks._serve import Network, serve
from benchmarks.likelihood import NUM_SAMPLES
from benchmarks.pytorch import networks


class Encoder(BaseEncoder):
    """x to the location and the log-variance of z."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.layers = networks(network)[0]

    def forward(self, x: Tensor) -> ModelOutput:
        """Return both."""
        loc, log_variance = self.layers(x).chunk(2, dim=-1)
        return ModelOutput(embedding=loc, log_covariance=log_variance)


class Decoder(BaseDecoder):
    """z to the probabilities of x."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.layers = networks(network)[1]

    def forward(self, z: Tensor) -> ModelOutput:
        """Return the probabilities."""
        return ModelOutput(reconstruction=nn.functional.sigmoid(self.layers(z)))


def vae(network: Network) -> VAE:
    """Return the autoencoder."""
    config = VAEConfig((network.data_dim,), network.latent_dim, reconstruction_loss="bce")
    return VAE(config, encoder=Encoder(network), decoder=Decoder(network))


def build(network: Network) -> Callable[[int], None]:
    """Return a function that evaluates n rows."""
    model = vae(network).eval()
    rows = (torch.rand(100, network.data_dim) < 0.2).float()

    @torch.no_grad()
    def evaluate(n: int) -> None:
        model.get_nll(rows[torch.arange(n) % len(rows)], n_samples=NUM_SAMPLES, batch_size=500)

    return evaluate


if __name__ == "__main__":
    serve(build)
