"""A guide of independent discrete variables."""

from __future__ import annotations

import pyro.distributions as dist
from torch import Tensor, nn

from pyro_vae.distributions.discrete_variables import DiscreteVariables
from pyro_vae.guides.base import AmortizedGuide, MakeEncoder

__all__ = ["DiscreteGuide", "discrete_guide"]


class DiscreteGuide(AmortizedGuide):
    """`z | x ~ prod_d Categorical(softmax(logits_d(x)))`, or Bernoulli: discrete variables, independent given x.

    Jang et al. 2017, section 4.2, and Maddison et al. 2017, section 5. Samples are not reparameterized: train with
    `EnumeratedELBO`, `RLOO`, `GumbelSoftmax` or `StraightThrough`.

    Args:
        encoder: Network (..., data_dim) -> (..., variables.width): logits.
        variables: The discrete variables, `Categoricals` or `Bernoullis`.
    """

    def __init__(self, encoder: nn.Module, variables: DiscreteVariables) -> None:
        super().__init__(encoder)
        self.variables = variables

    def family(self, outputs: Tensor) -> dist.TorchDistribution:
        """Return the distribution of z with `outputs`, shape (..., variables.width), as logits."""
        return self.variables(outputs)


def discrete_guide(make_encoder: MakeEncoder, variables: DiscreteVariables) -> AmortizedGuide:
    """Return a guide of independent discrete variables."""
    return DiscreteGuide(make_encoder(variables.width), variables)
