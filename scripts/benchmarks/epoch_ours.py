"""Epochs of `fit`, or their bare steps: `python -m benchmarks.epoch_ours NETWORK [compile] [bf16] [bare]`."""

import sys
from collections.abc import Callable

from benchmarks.ours import trainer_of  # isort: skip (it sets the threads before torch is loaded)

import torch

from benchmarks._serve import Network, device, serve
from pyro_vae.training import FusedAdamW, ProgressBar, Schedule


def epochs_of(network: Network) -> Callable[[int], None]:
    """Return a function that trains for n epochs."""
    train, validation = network.rows()
    # Validation is traced in runs of many epochs.
    settings = {"epochs": 1000, "schedule": Schedule("constant"), "callbacks": (ProgressBar(),)}
    trainer = trainer_of(network, train, validation, **settings)

    def epochs(n: int) -> None:
        trainer.epochs = trainer.epoch + n
        trainer.run()
        if trainer.stepper.gradients.note:
            raise RuntimeError(trainer.stepper.gradients.note)

    batch, progress = train[: network.batch_size].to(device()), torch.zeros((), device=device())
    adam = trainer.stepper.optimizer
    assert isinstance(adam, FusedAdamW)

    def bare(n: int) -> None:
        trainer.loss.train()
        for _ in range(n * len(trainer.train)):
            found = trainer.stepper.gradients(batch, progress=progress, unchanged=True)
            adam.update(found.gradients)

    epochs(1)
    return bare if "bare" in sys.argv else epochs


if __name__ == "__main__":
    serve(epochs_of, first=1)
