"""Base classes of likelihoods: mean and scale of the data, and a floor for learned scales."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.nn.functional import softplus

from pyro_vae._checks import check, check_positive
from pyro_vae._pickling import Picklable
from pyro_vae.data.as_tensor import as_tensor
from pyro_vae.data.units import LikelihoodKind
from pyro_vae.networks.architecture import num_positions
from pyro_vae.networks.positive import UNIT

__all__ = ["Likelihood", "LikelihoodWithFloor", "fill_constant", "geometric_scale", "typical_scale"]


def typical_scale(std: Tensor) -> float:
    """Return the root mean square of the columns' standard deviations, or 1 if all columns are constant.

    Args:
        std: Standard deviation of each column, shape (data_dim,).
    """
    return float(std.double().square().mean().sqrt()) or 1.0


def geometric_scale(std: Tensor) -> float:
    """Return the geometric mean of the standard deviations above 0, or 1 if all columns are constant.

    `N(m, s^2 I)` with this s has the entropy of `N(m, diag(std^2))`, in any units of the columns.

    Args:
        std: Standard deviation of each column, shape (data_dim,).
    """
    positive = std[std > 0].double()
    return float(positive.log().mean().exp()) if len(positive) else 1.0


def fill_constant(std: Tensor) -> Tensor:
    """Return the standard deviations with the 0 of a constant column replaced by the smallest of the others.

    Args:
        std: Standard deviation of each column, shape (data_dim,); all become 1 if all are 0.
    """
    positive = std[std > 0]
    return torch.where(std > 0, std, positive.min() if len(positive) else 1.0)


class Likelihood(Picklable):
    """Base class of likelihoods, with mean and scale of the data, saved with the weights.

    Args:
        mean: Mean of each column of the training split, shape (data_dim,), in data units.
        std: Standard deviation of each column, shape (data_dim,); 0 of a constant column is replaced by the
            smallest of the others.

    Raises:
        InputError: If the shapes differ, a value is not finite, or a standard deviation is below 0.
    """

    kind: ClassVar[LikelihoodKind] = "continuous"
    takes_missing: ClassVar[bool] = False
    """Whether x may contain NaN for missing entries."""
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
        """Number of decoder outputs for one row."""
        return self.data_dim

    def outputs_per_position(self, data_shape: Sequence[int]) -> int:
        """Return the number of decoder outputs per pixel (all channels together), or per column of a table.

        Args:
            data_shape: Shape of a row: (data_dim,), (height, width), or (channels, height, width).

        Raises:
            InputError: If rows of that shape have another number of entries.
        """
        check(
            math.prod(data_shape) == self.data_dim,
            f"Expected a shape of {self.data_dim} entries, as many as a row has; got {tuple(data_shape)}.",
        )
        return self.num_outputs // num_positions(data_shape)

    def decoder_shape(self, data_shape: Sequence[int]) -> tuple[int, ...]:
        """Return the shape of the positions that the decoder has outputs for: that of a row."""
        return tuple(data_shape)

    def forward(self, outputs: Tensor) -> dist.TorchDistribution:
        """Return p(x | z) from the decoder's `outputs`, shape (..., num_outputs); event shape (data_dim,)."""
        raise NotImplementedError

    def extra_repr(self) -> str:
        """Return the arguments shown by `repr`."""
        return f"{self.data_dim}"


class LikelihoodWithFloor(Likelihood):
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
        """Return standard deviations `floor + std * softplus(raw + log(e - 1))`, about `std` at `raw = 0`."""
        return self.scale_floor + self.std * softplus(raw + UNIT)

    def extra_repr(self) -> str:
        """Return the arguments shown by `repr`."""
        return f"{self.data_dim}, scale_floor={float(self.scale_floor):.3g}"
