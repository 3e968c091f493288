"""Likelihoods p(x | z): modules from the decoder's output to a distribution over rows.

Each says how many outputs it wants from the decoder, `num_outputs`, and starts at what the training split
looks like without z: an output of zero means the independent distribution with the data's own mean and scale.
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from pyro_vae._checks import check, check_positive
from pyro_vae._pickling import Picklable
from pyro_vae.data.as_tensor import as_tensor

__all__ = [
    "LIKELIHOODS",
    "BernoulliLikelihood",
    "GaussianLikelihood",
    "GaussianWithFixedScale",
    "GaussianWithIsotropicScale",
    "GaussianWithSharedScale",
    "LaplaceLikelihood",
    "Likelihood",
    "fill_constant",
    "typical_scale",
]

# softplus(UNIT) = 1: a scale parameter of zero then means the data's own scale.
UNIT = math.log(math.e - 1)


def typical_scale(std: Tensor) -> float:
    """Return the root mean square of the columns' standard deviations, or 1 where all columns are constant.

    Args:
        std: Standard deviation of each column, shape (data_dim,).
    """
    return float(std.double().square().mean().sqrt()) or 1.0


def fill_constant(std: Tensor) -> Tensor:
    """Return the standard deviations with the 0 of a constant column replaced by the smallest of the others.

    Args:
        std: Standard deviation of each column, shape (data_dim,); all become 1 where all are 0.
    """
    positive = std[std > 0]
    return torch.where(std > 0, std, positive.min() if len(positive) else 1.0)


class Likelihood(Picklable):
    """What all likelihoods share: the data's mean and scale, kept with the weights.

    Args:
        mean: Mean of each column of the training split, shape (data_dim,), in data units.
        std: Standard deviation of each column, shape (data_dim,); a constant column's 0 is replaced by the
            smallest of the others.

    Raises:
        InputError: If the shapes differ, or a value is not finite, or a standard deviation is below 0.
    """

    kind: ClassVar[Literal["continuous", "binary"]] = "continuous"
    mean: Tensor
    std: Tensor

    def __init__(self, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        mean, std = as_tensor(mean, "mean"), as_tensor(std, "std")
        check(
            mean.ndim == 1 and mean.shape == std.shape,
            f"Expected mean and std of one shape (data_dim,); got {tuple(mean.shape)} and {tuple(std.shape)}.",
        )
        check(
            bool(torch.isfinite(mean).all() and torch.isfinite(std).all() and (std >= 0).all()),
            "Expected finite means and standard deviations of at least 0; look for NaN or overflow in the data.",
        )
        self.data_dim = mean.shape[0]
        dtype = torch.get_default_dtype()
        self.register_buffer("mean", mean.to(dtype, copy=True))
        self.register_buffer("std", fill_constant(std).to(dtype))

    @property
    def num_outputs(self) -> int:
        """How many outputs the decoder gives for one row."""
        return self.data_dim

    def forward(self, outputs: Tensor) -> dist.TorchDistribution:
        """Return p(x | z) from the decoder's `outputs`, shape (..., num_outputs); event shape (data_dim,)."""
        raise NotImplementedError

    def extra_repr(self) -> str:
        """Return what `repr` shows of the module."""
        return f"{self.data_dim}"


class _WithFloor(Likelihood):
    """A likelihood whose standard deviation of a column never falls below `scale_floor`, in data units.

    Without a floor the likelihood is unbounded (Mattei & Frellsen 2018, proposition 1): a constant pixel
    drives its scale to 0, the bound to infinity and training to NaN.
    """

    scale_floor: Tensor

    def __init__(self, mean: Tensor, std: Tensor, scale_floor: float) -> None:
        super().__init__(mean, std)
        floor = check_positive(scale_floor, "scale_floor")
        self.register_buffer("scale_floor", torch.tensor(floor))

    def scale(self, raw: Tensor) -> Tensor:
        """Return standard deviations, `floor + std * softplus(raw + log(e - 1))`: about the data's own at `raw = 0`."""
        return self.scale_floor + self.std * softplus(raw + UNIT)

    def extra_repr(self) -> str:
        """Return what `repr` shows of the module."""
        return f"{self.data_dim}, scale_floor={float(self.scale_floor):.3g}"


class GaussianLikelihood(_WithFloor):
    """`x | z ~ N(loc(z), diag(scale(z)^2))`, both from the decoder: the learned diagonal covariance.

    Args:
        mean: Mean of each column of the training split, shape (data_dim,), in data units.
        std: Standard deviation of each column, shape (data_dim,).
        scale_floor: The smallest standard deviation of a column, in data units, above 0.
    """

    @property
    def num_outputs(self) -> int:
        """A location and a standard deviation for each column."""
        return 2 * self.data_dim

    def forward(self, outputs: Tensor) -> dist.TorchDistribution:
        """Return p(x | z) from `outputs`, shape (..., 2 data_dim)."""
        loc, raw_scale = outputs.chunk(2, dim=-1)
        return dist.Normal(self.mean + self.std * loc, self.scale(raw_scale)).to_event(1)


class LaplaceLikelihood(GaussianLikelihood):
    """`x | z ~ Laplace(loc(z), s(z) / sqrt(2))` column by column: absolute (L1) instead of squared distance.

    s is the standard deviation, sqrt(2) times the Laplace distribution's own scale. The floor bounds s, as in the
    normal likelihoods.

    Args:
        mean: Mean of each column of the training split, shape (data_dim,), in data units.
        std: Standard deviation of each column, shape (data_dim,).
        scale_floor: The smallest standard deviation of a column, in data units, above 0.
    """

    def forward(self, outputs: Tensor) -> dist.TorchDistribution:
        """Return p(x | z) from `outputs`, shape (..., 2 data_dim)."""
        loc, raw_scale = outputs.chunk(2, dim=-1)
        return dist.Laplace(self.mean + self.std * loc, self.scale(raw_scale) / math.sqrt(2)).to_event(1)


class GaussianWithSharedScale(_WithFloor):
    """`x | z ~ N(loc(z), diag(scale^2))`: one learned scale a column, no function of z.

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
        """Return `floor + typical scale * softplus(raw + log(e - 1))`, one number for all columns."""
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
        """Return what `repr` shows of the module."""
        return f"{self.data_dim}, fixed_scale={float(self.fixed_scale):.3g}"


class BernoulliLikelihood(Likelihood):
    """`x | z ~ Bernoulli(logits(z))` column by column, for x in {0, 1}.

    Args:
        mean: Share of ones in each column of the training split, shape (data_dim,).
        std: Standard deviation of each column, shape (data_dim,); not used.

    Raises:
        InputError: If a mean lies outside [0, 1].
    """

    kind = "binary"
    # A column that is constant in training starts at, and is not believed beyond, odds of 1 to 1000.
    smallest_share: ClassVar[float] = 1e-3
    offset: Tensor

    def __init__(self, mean: Tensor, std: Tensor) -> None:
        super().__init__(mean, std)
        check(
            bool(((self.mean >= 0) & (self.mean <= 1)).all()),
            "Expected binary data, with column means in [0, 1].",
        )
        share = self.mean.clamp(self.smallest_share, 1 - self.smallest_share)
        self.register_buffer("offset", torch.logit(share))

    def forward(self, outputs: Tensor) -> dist.TorchDistribution:
        """Return p(x | z) from `outputs`, shape (..., data_dim): logits relative to the columns' shares."""
        return _Bernoulli(logits=self.offset + outputs).to_event(1)


class _Bernoulli(dist.Bernoulli):
    """Pyro's Bernoulli, its log-probability in fewer passes over memory: beside the networks it is what costs."""

    def log_prob(self, value: Tensor) -> Tensor:
        """Return `value logits - log(1 + exp(logits))`."""
        if self._validate_args:
            self._validate_sample(value)
        return (value * self.logits).sub_(softplus(self.logits))


LIKELIHOODS: dict[str, type[Likelihood]] = {
    "gaussian": GaussianLikelihood,
    "gaussian-shared": GaussianWithSharedScale,
    "gaussian-isotropic": GaussianWithIsotropicScale,
    "gaussian-fixed": GaussianWithFixedScale,
    "laplace": LaplaceLikelihood,
    "bernoulli": BernoulliLikelihood,
}
