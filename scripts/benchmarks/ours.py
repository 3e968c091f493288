"""Our training step, including checks: `python -m benchmarks.ours NETWORK [compile] [bf16] [spinning]`."""

import os
import sys
from collections.abc import Callable
from typing import Any

from pyro_vae._environment import limit_thread_spinning

if "spinning" in sys.argv:
    os.environ.pop("GOMP_SPINCOUNT", None)
else:
    limit_thread_spinning()

import torch

from benchmarks._serve import Network, device, serve
from pyro_vae.experiment.build import build
from pyro_vae.experiment.config import ModelConfig
from pyro_vae.objectives import ELBO
from pyro_vae.training import FusedAdamW, Schedule, Trainer, make_trainer


def trainer_of(
    network: Network, train: torch.Tensor, validation: torch.Tensor | None = None, **settings: Any
) -> Trainer:
    """Return the trainer of the network, compiled and in bf16 if requested on the command line."""
    layers: dict[str, Any] = {"hidden": tuple(network.hidden)}
    shape: tuple[int, ...] = (network.data_dim,)
    if network.channels:
        layers = {"network": "convolutional", "channels": tuple(network.channels), "dense": network.hidden[0]}
        shape = (network.side, network.side)
    config = ModelConfig(
        likelihood="bernoulli",
        latent_dim=network.latent_dim,
        activation="relu",
        precision="bf16" if "bf16" in sys.argv else "fp32",
        **layers,
    )
    defaults: dict[str, Any] = {"epochs": 1000, "schedule": Schedule()}
    return make_trainer(
        *build(config, train.mean(0), train.std(0), data_shape=shape),
        train,
        validation,
        objective=ELBO(),
        batch_size=network.batch_size,
        optimizer=FusedAdamW,
        clip_norm=None,
        patience=None,
        device=device(),
        compile="on" if "compile" in sys.argv else "off",
        seed=0,
        **defaults | settings,
    )


def steps_of(network: Network) -> Callable[[int], None]:
    """Return a function that runs steps of a trainer."""
    rows = (torch.rand(8 * network.batch_size, network.data_dim) < 0.2).float()
    trainer = trainer_of(network, rows)
    batches = list(rows.to(device()).split(network.batch_size))
    trainer.loss.train()

    def steps(n: int) -> None:
        for i in range(n):
            trainer.step = i % 8
            trainer._take_step((batches[i % 8],))
        if trainer.stepper.gradients.note:
            raise RuntimeError(trainer.stepper.gradients.note)

    return steps


if __name__ == "__main__":
    serve(steps_of)
