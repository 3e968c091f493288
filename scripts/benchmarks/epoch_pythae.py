"""Epochs of pythae's trainer: `python -m benchmarks.epoch_pythae NETWORK`."""

import json
import sys
import tempfile
from typing import Any

import torch
from pythae.data.datasets import BaseDataset
from pythae.trainers import BaseTrainer, BaseTrainerConfig
from pythae.trainers.training_callbacks import TrainingCallback

from benchmarks._serve import Network, clock, turns
from benchmarks.likelihood_pythae import vae


class Turns(TrainingCallback):
    """Pauses the trainer before each epoch after the first until the next request."""

    def __init__(self) -> None:
        self.started = clock()
        self.turns = turns()

    def on_epoch_begin(self, training_config: Any, epoch: int, **_: Any) -> None:
        """Wait."""
        if epoch == 2:
            print(clock() - self.started, file=sys.__stdout__, flush=True)
        if epoch > 1 and next(self.turns, None) is None:
            sys.exit()


def main() -> None:
    """Train."""
    network = Network(*json.loads(sys.argv[1]))
    train, validation = (BaseDataset(rows, torch.zeros(len(rows))) for rows in network.rows())
    with tempfile.TemporaryDirectory() as folder:
        config = BaseTrainerConfig(
            output_dir=folder,
            per_device_train_batch_size=network.batch_size,
            per_device_eval_batch_size=network.batch_size,
            learning_rate=1e-3,
            num_epochs=1_000_000,
            no_cuda=True,
        )
        BaseTrainer(vae(network), train, validation, training_config=config, callbacks=[Turns()]).train()


if __name__ == "__main__":
    main()
