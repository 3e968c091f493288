"""Pyro in its usual form, with the published recipe: `python -m benchmarks.quality_pyro JOB`."""

import torch
from pyro.infer import SVI, Trace_ELBO
from pyro.optim import PyroOptim

from benchmarks._snapshots import ADAM, Snapshots, learning_rates
from benchmarks.pyro_stock import programs
from benchmarks.pytorch import networks
from benchmarks.quality_pytorch import linear_layers, start


def main() -> None:
    """Train."""
    snapshots = Snapshots()
    grey = torch.from_numpy(snapshots.grey())
    encoder, decoder = networks(snapshots.network)
    start(encoder)
    start(decoder, grey.mean(0))
    optimizer = PyroOptim(torch.optim.Adam, dict(ADAM))
    svi = SVI(*programs(encoder, decoder, snapshots.network.latent_dim), optimizer, Trace_ELBO())
    for lr in learning_rates():
        optimizer.pt_optim_args["lr"] = lr
        for each in optimizer.optim_objs.values():
            each.param_groups[0]["lr"] = lr
        for index in torch.randperm(len(grey)).split(snapshots.network.batch_size):
            svi.step(torch.bernoulli(grey[index]))
            if snapshots.over(lambda: (linear_layers(encoder), linear_layers(decoder)), "exp"):
                return


if __name__ == "__main__":
    main()
