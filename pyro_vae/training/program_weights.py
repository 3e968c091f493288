"""Copies of the weights of a model and a guide."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pyro_vae.objectives import Loss

__all__ = ["ProgramWeights"]


class ProgramWeights:
    """The trained parameters of two programs and the buffers of their modules, by name.

    Args:
        loss: An objective bound to the programs.
        parameters: The parameters to train. Parameters of plain functions, in Pyro's store, are named "param.0",
            "param.1", ...
    """

    def __init__(self, loss: Loss, parameters: Sequence[Tensor]) -> None:
        self.loss = loss
        inside = {id(parameter) for parameter in loss.parameters()}
        outside = [parameter for parameter in parameters if id(parameter) not in inside]
        self.outside = {f"param.{number}": parameter for number, parameter in enumerate(outside)}

    def copy(self) -> dict[str, Tensor]:
        """Return a copy of the weights by name."""
        named = self.loss.state_dict() | self.outside
        return {name: value.detach().clone() for name, value in named.items()}

    @torch.no_grad()
    def put(self, weights: dict[str, Tensor]) -> None:
        """Restore the weights from a copy."""
        self.loss.load_state_dict(
            {name: value for name, value in weights.items() if name not in self.outside}
        )
        for name, parameter in self.outside.items():
            parameter.copy_(weights[name])
