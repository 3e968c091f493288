"""A network of the first columns of its input."""

from __future__ import annotations

from torch import Tensor, nn

from pyro_vae._context import ContextRange, context_range_of_network
from pyro_vae._pickling import Picklable

__all__ = ["LeadingColumns"]


class LeadingColumns(Picklable):
    """`inputs, c -> network(inputs[..., :width], c)`: for concatenated latent layers, a function of the first one.

    Args:
        network: Network (rows, width), and context (rows, ...) -> (rows, outputs).
        width: Number of columns to read.
    """

    def __init__(self, network: nn.Module, width: int) -> None:
        super().__init__()
        self.network = network
        self.width = width

    @property
    def context_range(self) -> ContextRange:
        """Number of context tensors that the network takes."""
        return context_range_of_network(self.network)

    def forward(self, inputs: Tensor, *context: Tensor) -> Tensor:
        """Return the network's outputs for inputs of at least `width` columns."""
        outputs: Tensor = self.network(inputs[..., : self.width], *context)
        return outputs
