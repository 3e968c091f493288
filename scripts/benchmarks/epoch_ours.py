"""Epochs of `fit`, or as many bare steps: `python -m benchmarks.epoch_ours NETWORK [compile] [bf16] [bare]`."""

import sys
from collections.abc import Callable

from pyro_vae._environment import calm_threads

calm_threads()

import torch

from benchmarks._serve import Network, serve
from pyro_vae.building import build
from pyro_vae.config import ModelConfig
from pyro_vae.objectives import ELBO
from pyro_vae.training import FusedAdamW, ProgressBar, Schedule, make_trainer


def epochs_of(network: Network) -> Callable[[int], None]:
    """Return what trains for n epochs."""
    train, validation = network.rows()
    config = ModelConfig(
        likelihood="bernoulli",
        latent_dim=network.latent_dim,
        hidden=tuple(network.hidden),
        activation="relu",
        precision="bf16" if "bf16" in sys.argv else "fp32",
    )
    trainer = make_trainer(
        *build(config, train.mean(0), train.std(0)),
        train,
        validation,
        objective=ELBO(),
        epochs=1,
        batch_size=network.batch_size,
        optimizer=FusedAdamW,
        schedule=Schedule("constant"),
        clip_norm=None,
        patience=None,
        device="cpu",
        compile="on" if "compile" in sys.argv else "off",
        seed=0,
        callbacks=(ProgressBar(),),
    )

    def epochs(n: int) -> None:
        trainer.epochs = trainer.epoch + n
        trainer.run()
        if trainer.gradients.note:
            raise RuntimeError(trainer.gradients.note)

    batch, progress = train[: network.batch_size].clone(), torch.zeros(())

    def bare(n: int) -> None:
        trainer.loss.train()
        for _ in range(n * len(trainer.train)):
            trainer.gradients(batch, progress=progress)
            trainer.optimizer.step()

    epochs(1)
    return bare if "bare" in sys.argv else epochs


if __name__ == "__main__":
    serve(epochs_of, first=1)
