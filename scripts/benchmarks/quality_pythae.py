"""pythae's trainer with the published recipe: `python -m benchmarks.quality_pythae JOB`."""

import sys
from typing import Any

import torch
from pythae.data.datasets import BaseDataset, DatasetOutput
from pythae.models import VAE
from pythae.trainers import BaseTrainer, BaseTrainerConfig
from pythae.trainers.training_callbacks import TrainingCallback

from benchmarks._snapshots import ADAM, Snapshots, learning_rates
from benchmarks.likelihood_pythae import vae
from benchmarks.quality_pytorch import linear_layers, start


class Binarized(BaseDataset):
    """Rows that are binarized again on every access."""

    def __getitem__(self, index: int) -> DatasetOutput:
        """Return a row."""
        return DatasetOutput(data=torch.bernoulli(self.data[index]), labels=self.labels[index])


class WhenDue(TrainingCallback):
    """Writes the weights when they are due, and ends the process at the time limit."""

    def __init__(self, snapshots: Snapshots, model: VAE) -> None:
        self.snapshots = snapshots
        self.model = model

    def on_train_step_end(self, training_config: Any, **_: Any) -> None:
        """Look at the clock."""
        encoder, decoder = self.model.encoder, self.model.decoder
        if self.snapshots.over(lambda: (linear_layers(encoder), linear_layers(decoder)), "variance"):
            sys.exit()


def main() -> None:
    """Train."""
    snapshots = Snapshots()
    grey = torch.from_numpy(snapshots.grey())
    model = vae(snapshots.network)
    start(model.encoder)
    start(model.decoder, grey.mean(0))
    rates = list(learning_rates())
    config = BaseTrainerConfig(
        output_dir=str(snapshots.folder),
        per_device_train_batch_size=snapshots.network.batch_size,
        num_epochs=len(rates),
        learning_rate=rates[0],
        optimizer_params=ADAM,
        scheduler_cls="LambdaLR",
        scheduler_params={"lr_lambda": lambda epoch: rates[min(epoch, len(rates) - 1)] / rates[0]},
        no_cuda=True,
    )
    rows = Binarized(grey, torch.zeros(len(grey)))
    BaseTrainer(model, rows, training_config=config, callbacks=[WhenDue(snapshots, model)]).train()


if __name__ == "__main__":
    main()
