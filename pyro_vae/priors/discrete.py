"""Priors of discrete variables: uniform, and with learned probabilities."""

from __future__ import annotations

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyro_vae._pickling import Picklable
from pyro_vae.distributions.discrete_variables import DiscreteVariables

__all__ = ["LearnedStates", "UniformStates", "learned_prior", "uniform_prior"]


class UniformStates(Picklable):
    """`p(z) = prod_d 1 / S`: independent uniform variables with S states.

    Args:
        variables: The discrete variables, `Categoricals` or `Bernoullis`.
    """

    logits: Tensor

    def __init__(self, variables: DiscreteVariables) -> None:
        super().__init__()
        self.variables = variables
        # A buffer moves with the module; a constant need not be saved with the weights.
        self.register_buffer("logits", torch.zeros(variables.width), persistent=False)

    def forward(self) -> dist.TorchDistribution:
        """Return p(z), event shape (variables.width,)."""
        return self.variables(self.logits)

    def extra_repr(self) -> str:
        """Return the arguments shown by `repr`."""
        return f"{self.variables}"


class LearnedStates(Picklable):
    """`p(z) = prod_d softmax(logits_d)`: independent variables with learned probabilities, uniform at the start.

    Args:
        variables: The discrete variables, `Categoricals` or `Bernoullis`.
    """

    def __init__(self, variables: DiscreteVariables) -> None:
        super().__init__()
        self.variables = variables
        self.logits = nn.Parameter(torch.zeros(variables.width))

    def forward(self) -> dist.TorchDistribution:
        """Return p(z), event shape (variables.width,)."""
        return self.variables(self.logits)

    def extra_repr(self) -> str:
        """Return the arguments shown by `repr`."""
        return f"{self.variables}"


def uniform_prior(variables: DiscreteVariables, guide: nn.Module, rows: Tensor) -> nn.Module:
    """Return a uniform prior."""
    return UniformStates(variables)


def learned_prior(variables: DiscreteVariables, guide: nn.Module, rows: Tensor) -> nn.Module:
    """Return a prior with learned probabilities."""
    return LearnedStates(variables)
