"""Normal likelihoods with different scales."""

from __future__ import annotations

import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from pyro_vae._checks import check_positive
from pyro_vae.likelihoods.base import Likelihood, LikelihoodWithFloor
from pyro_vae.networks.positive import UNIT

__all__ = [
    "GaussianLikelihood",
    "GaussianWithFixedScale",
    "GaussianWithIsotropicScale",
    "GaussianWithSharedScale",
]


class GaussianLikelihood(LikelihoodWithFloor):
    """`x | z ~ N(loc(z), diag(scale(z)^2))`, both from the decoder: the learned diagonal covariance.

    Args:
        mean: Mean of each column of the training split, shape (data_dim,), in data units.
        std: Standard deviation of each column, shape (data_dim,).
        scale_floor: The smallest standard deviation of a column, in data units, above 0.

    Example:
        >>> import torch
        >>> from pyro_vae.likelihoods import GaussianLikelihood
        >>> x = torch.randn(100, 6)
        >>> likelihood = GaussianLikelihood(x.mean(0), x.std(0), scale_floor=0.01)
        >>> p = likelihood(torch.zeros(1, likelihood.num_outputs))  # outputs of 0: mean and scale of the data
        >>> torch.allclose(p.mean, x.mean(0))
        True
    """

    @property
    def num_outputs(self) -> int:
        """A location and a standard deviation for each column."""
        return 2 * self.data_dim

    def forward(self, outputs: Tensor) -> dist.TorchDistribution:
        """Return p(x | z) from `outputs`, shape (..., 2 data_dim)."""
        loc, raw_scale = outputs.chunk(2, dim=-1)
        return dist.Normal(self.mean + self.std * loc, self.scale(raw_scale)).to_event(1)


class GaussianWithSharedScale(LikelihoodWithFloor):
    """`x | z ~ N(loc(z), diag(scale^2))`: one learned scale per column, independent of z.

    With a linear decoder this is factor analysis.

    Args:
        mean: Mean of each column of the training split, shape (data_dim,), in data units.
        std: Standard deviation of each column, shape (data_dim,).
        scale_floor: The smallest standard deviation of a column, in data units, above 0.
    """

    def __init__(self, mean: Tensor, std: Tensor, scale_floor: float) -> None:
        super().__init__(mean, std, scale_floor)
        self.raw_scale = nn.Parameter(torch.zeros(self.data_dim))

    def forward(self, outputs: Tensor) -> dist.TorchDistribution:
        """Return p(x | z) from `outputs`, shape (..., data_dim)."""
        return dist.Normal(self.mean + self.std * outputs, self.scale(self.raw_scale)).to_event(1)


class GaussianWithIsotropicScale(GaussianWithSharedScale):
    """`x | z ~ N(loc(z), scale^2 I)`: one learned scale for all columns.

    With a linear decoder this is probabilistic PCA (Tipping & Bishop 1999).

    Args:
        mean: Mean of each column of the training split, shape (data_dim,), in data units.
        std: Standard deviation of each column, shape (data_dim,).
        scale_floor: The smallest standard deviation of a column, in data units, above 0.
    """

    def __init__(self, mean: Tensor, std: Tensor, scale_floor: float) -> None:
        super().__init__(mean, std, scale_floor)
        self.raw_scale = nn.Parameter(torch.zeros(()))

    def scale(self, raw: Tensor) -> Tensor:
        """Return `floor + typical scale * softplus(raw + log(e - 1))`, the same for all columns."""
        typical = self.std.square().mean().sqrt()
        return (self.scale_floor + typical * softplus(raw + UNIT)).expand(self.data_dim)


class GaussianWithFixedScale(Likelihood):
    """`x | z ~ N(loc(z), scale^2 I)` with a given scale: Euclidean distance, weighted by `1 / (2 scale^2)`.

    Args:
        mean: Mean of each column of the training split, shape (data_dim,), in data units.
        std: Standard deviation of each column, shape (data_dim,).
        fixed_scale: The scale, in data units, above 0.
    """

    fixed_scale: Tensor

    def __init__(self, mean: Tensor, std: Tensor, fixed_scale: float) -> None:
        super().__init__(mean, std)
        self.register_buffer("fixed_scale", torch.tensor(check_positive(fixed_scale, "fixed_scale")))

    def forward(self, outputs: Tensor) -> dist.TorchDistribution:
        """Return p(x | z) from `outputs`, shape (..., data_dim)."""
        scale = self.fixed_scale.expand(self.data_dim)
        return dist.Normal(self.mean + self.std * outputs, scale).to_event(1)

    def extra_repr(self) -> str:
        """Return the arguments shown by `repr`."""
        return f"{self.data_dim}, fixed_scale={float(self.fixed_scale):.3g}"
