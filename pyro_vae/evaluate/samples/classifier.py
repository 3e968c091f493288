"""Features of a small classifier trained on the data set, for small grey images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from pyro_vae._checks import InputError, check
from pyro_vae.evaluate.samples.features import FeatureNetwork

__all__ = ["ClassifierFeatures"]

STEPS, BATCH = 800, 64
"""Training steps; on 10 000 MNIST digits they give 96 % held-out accuracy in 17 s of one core."""


class ClassifierFeatures(FeatureNetwork):
    """The 64 features before the last layer of a convolutional network that was trained on the labels.

    It is meant for images unlike photographs. Values for different data sets, or for different trainings of the
    classifier, are not comparable.

    Args:
        data_shape: Shape of a row: (H, W), or with channels first.
        seed: Seed of the initial weights and the order of rows.

    Attributes:
        accuracy: Accuracy on the held-out tenth of the rows.
    """

    num_features = 64
    learns = True
    accuracy: Tensor

    def __init__(self, data_shape: Sequence[int], seed: int = 0) -> None:
        super().__init__()
        self.name, self.seed = "classifier", seed
        height, width = data_shape[-2:]
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.network = nn.Sequential(
                nn.Conv2d(3, 32, 3, stride=2, padding=1),
                nn.ReLU(),
                nn.Conv2d(32, 64, 3, stride=2, padding=1),
                nn.ReLU(),
                nn.Flatten(),
                nn.Linear(64 * -(-height // 4) * -(-width // 4), self.num_features),
                nn.ReLU(),
            )
        self.register_buffer("accuracy", torch.tensor(torch.nan))
        self.requires_grad_(False).eval()

    def forward(self, images: Tensor) -> Tensor:
        """Return the features of images, shape (N, 64)."""
        features: Tensor = self.network(images)
        return features

    def prepare(self, images: Tensor, labels: Tensor | None) -> None:
        """Train on nine tenths of the images, and measure the accuracy on the rest.

        Args:
            images: Shape (N, 3, H, W).
            labels: Classes, int64 (N,).

        Raises:
            InputError: If there are no labels, or only one class.
        """
        if labels is None:
            raise InputError(
                "Expected rows with labels for --features classifier; got none. Take other features."
            )
        classes, codes = labels.unique(return_inverse=True)
        check(len(classes) > 1, "Expected at least two classes for --features classifier; got one.")
        device = next(self.parameters()).device
        with torch.inference_mode(False), torch.random.fork_rng():
            torch.manual_seed(self.seed)
            order = torch.randperm(len(images))
            held_out, trained = order[: len(order) // 10], order[len(order) // 10 :]
            head = nn.Linear(self.num_features, len(classes)).to(device)
            self.requires_grad_(True)
            self._train(head, images, codes, trained)
        self.requires_grad_(False)
        with torch.no_grad():
            parts = [
                head(self(images[rows].to(device))).argmax(1).cpu() == codes[rows]
                for rows in held_out.split(500)
            ]
        self.accuracy.fill_(torch.cat(parts).float().mean() if parts else torch.nan)

    @torch.enable_grad()
    def _train(self, head: nn.Module, images: Tensor, codes: Tensor, rows: Tensor) -> None:
        """Take `STEPS` steps of Adam with a learning rate decreasing to 0."""
        parameters = [*self.network.parameters(), *head.parameters()]
        optimizer = torch.optim.Adam(parameters, lr=2e-3)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
        device = parameters[0].device
        for _ in range(STEPS):
            batch = rows[torch.randint(len(rows), (BATCH,))]
            loss = cross_entropy(head(self(images[batch].to(device))), codes[batch].to(device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
