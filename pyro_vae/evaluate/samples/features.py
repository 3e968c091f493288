"""Feature networks for the comparison of sets of images."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import torch
from torch import Tensor, nn

__all__ = ["FeatureNetwork", "features_of"]


class FeatureNetwork(nn.Module):
    """A network from images, shape (N, 3, H, W) with values from 0 to 1, to features, shape (N, num_features).

    Attributes:
        name: Name in keys of files: letters, digits and hyphens, with the resolution at the end, such as "-96px".
        num_features: Number of features.
        learns: Whether `prepare` trains it on the data, so that its weights are part of the run.
    """

    name: str
    num_features: int
    learns: ClassVar[bool] = False

    def prepare(self, images: Tensor, labels: Tensor | None) -> None:
        """Train the network on the data if it learns; otherwise do nothing.

        Args:
            images: Shape (N, 3, H, W).
            labels: Classes, int64 (N,), or None.
        """


@torch.no_grad()
def features_of(
    network: FeatureNetwork, images: Iterable[Tensor], device: torch.device | str = "cpu"
) -> Tensor:
    """Return the features of blocks of images, float32 of shape (N, num_features), on the CPU.

    Args:
        network: The network, in evaluation mode.
        images: Blocks of shape (n, 3, H, W).
        device: Device of the network.
    """
    network.to(device)
    return torch.cat([network(block.to(device)).float().cpu() for block in images])
