"""Matrix products in bfloat16 during training."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pyro_vae._compat import has_bfloat16_instructions
from pyro_vae._context import ContextRange, context_range_of_network
from pyro_vae._pickling import Picklable

__all__ = ["Bfloat16Training", "has_fast_bfloat16"]


class Bfloat16Training(Picklable):
    """A network with bfloat16 matrix products in training; input, output and weights keep their precision.

    In evaluation mode the network runs in full precision, since rounding would affect importance weights.

    Args:
        network: A network from tensors to tensors.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    @property
    def context_range(self) -> ContextRange:
        """Number of context tensors that the network takes."""
        return context_range_of_network(self.network)

    def forward(self, inputs: Tensor, *context: Tensor) -> Tensor:
        """Return the network's output, in the precision of `inputs`."""
        if not self.training:
            return self.network(inputs, *context)
        with torch.autocast(inputs.device.type, torch.bfloat16):
            outputs: Tensor = self.network(inputs, *context)
        return outputs.to(inputs.dtype)


def has_fast_bfloat16(device: str) -> bool:
    """Return whether the device ("cpu", "cuda") multiplies bfloat16 faster than float32."""
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return has_bfloat16_instructions()
