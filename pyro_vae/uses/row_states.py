"""A guide of independent discrete variables per row, whose logits are passed as context."""

from __future__ import annotations

import math

import pyro
from torch import Tensor

from pyro_vae._context import ContextRange
from pyro_vae._programs import Program
from pyro_vae.distributions.discrete_variables import Bernoullis, DiscreteVariables

__all__ = ["RowStates", "states_near"]

SHARE = 0.1
"""Share of the prior in a proposal, so that states without draws keep some probability."""


class RowStates(Program):
    """`z | x_n ~ variables(logits_n)` for row n, called as `guide(x, *context, logits)`.

    Args:
        variables: The discrete variables of z.
    """

    num_parameters = 1

    def __init__(self, variables: DiscreteVariables) -> None:
        super().__init__()
        self.variables = variables

    @property
    def context_range(self) -> ContextRange:
        """At least the logits."""
        return ContextRange(self.num_parameters, math.inf)

    def forward(self, x: Tensor, *context: Tensor) -> None:
        """Run the program on rows x, shape (N, data_dim), with logits (N, variables.width) last in the context."""
        with pyro.plate("data", x.shape[-2], dim=-1):
            # z ~ prod_d q_n(z_d)
            pyro.sample("z", self.variables(context[-1]))


def states_near(draws: Tensor, prior: Tensor, variables: DiscreteVariables) -> Tensor:
    """Return the logits of the relative frequencies of draws, mixed with a tenth of the prior's probabilities.

    Args:
        draws: Draws of z, shape (S, N, variables.width).
        prior: Mean of z under the prior, shape (variables.width,) or (N, variables.width).
        variables: The discrete variables of z.

    Returns:
        Shape (N, variables.width).
    """
    probs = (1 - SHARE) * draws.mean(0) + SHARE * prior
    return probs.logit() if isinstance(variables, Bernoullis) else probs.log()
