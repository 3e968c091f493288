"""Feature networks: from images to the numbers in which two sets of images are compared."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import torch
from torch import Tensor, nn

__all__ = ["FeatureNetwork", "features_of"]


class FeatureNetwork(nn.Module):
    """A network from images, shape (N, 3, H, W) with values from 0 to 1, to features, shape (N, num_features).

    Attributes:
        name: What keys of files call it: letters, digits and hyphens, and the resolution at the end, such as "-96px".
        num_features: Size of its output.
        learns: Whether `prepare` trains it on the data, so that its weights belong to the run.
    """

    name: str
    num_features: int
    learns: ClassVar[bool] = False

    def prepare(self, images: Tensor, labels: Tensor | None) -> None:
        """Train on the data where the network does so; otherwise nothing happens.

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
        network: In evaluation mode.
        images: Blocks of shape (n, 3, H, W).
        device: Where the network runs.
    """
    network.to(device)
    return torch.cat([network(block.to(device)).float().cpu() for block in images])
