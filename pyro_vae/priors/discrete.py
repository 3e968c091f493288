"""Priors of discrete variables: all states alike, and with learned probabilities."""

from __future__ import annotations

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyro_vae._pickling import Picklable
from pyro_vae.distributions.discrete_variables import DiscreteVariables

__all__ = ["LearnedStates", "UniformStates", "learned_prior", "uniform_prior"]


class UniformStates(Picklable):
    """`p(z) = prod_d 1 / S`: independent variables, all of whose S states are alike.

    Args:
        variables: What z is made of, `Categoricals` or `Bernoullis`.
    """

    logits: Tensor

    def __init__(self, variables: DiscreteVariables) -> None:
        super().__init__()
        self.variables = variables
        # A buffer follows the module to its device; a constant needs no place in the saved weights.
        self.register_buffer("logits", torch.zeros(variables.width), persistent=False)

    def forward(self) -> dist.TorchDistribution:
        """Return p(z), event shape (variables.width,)."""
        return self.variables(self.logits)

    def extra_repr(self) -> str:
        """Return what `repr` shows of the module."""
        return f"{self.variables}"


class LearnedStates(Picklable):
    """`p(z) = prod_d softmax(logits_d)`: independent variables with learned probabilities, uniform at the start.

    Args:
        variables: What z is made of, `Categoricals` or `Bernoullis`.
    """

    def __init__(self, variables: DiscreteVariables) -> None:
        super().__init__()
        self.variables = variables
        self.logits = nn.Parameter(torch.zeros(variables.width))

    def forward(self) -> dist.TorchDistribution:
        """Return p(z), event shape (variables.width,)."""
        return self.variables(self.logits)

    def extra_repr(self) -> str:
        """Return what `repr` shows of the module."""
        return f"{self.variables}"


def uniform_prior(variables: DiscreteVariables, guide: nn.Module, rows: Tensor) -> nn.Module:
    """Return a prior under which all states are alike."""
    return UniformStates(variables)


def learned_prior(variables: DiscreteVariables, guide: nn.Module, rows: Tensor) -> nn.Module:
    """Return a prior with learned probabilities."""
    return LearnedStates(variables)
