"""The loop of Pyro's own examples: `python -m benchmarks.epoch_pyro NETWORK`."""

from collections.abc import Callable

from pyro.infer import SVI, Trace_ELBO
from pyro.optim import Adam
from torch.utils.data import DataLoader, TensorDataset

from benchmarks._serve import Network, device, serve
from benchmarks.pyro_stock import programs
from benchmarks.pytorch import networks


def epochs_of(network: Network) -> Callable[[int], None]:
    """Return a function that trains for n epochs, with the loss on both splits after each."""
    encoder, decoder = (part.to(device()) for part in networks(network))
    svi = SVI(*programs(encoder, decoder, network.latent_dim), Adam({"lr": 1e-3}), Trace_ELBO())
    train, validation = (
        DataLoader(TensorDataset(rows), network.batch_size, shuffle=True) for rows in network.rows()
    )

    def epochs(n: int) -> None:
        for _ in range(n):
            sum(svi.step(x.to(device())) for (x,) in train)
            sum(svi.evaluate_loss(x.to(device())) for (x,) in validation)

    return epochs


if __name__ == "__main__":
    serve(epochs_of, first=1)
