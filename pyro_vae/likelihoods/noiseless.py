"""Outputs of autoencoders: reconstructions without noise, which are not likelihoods."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pyro.distributions as dist
import torch
from torch import Tensor

from pyro_vae._checks import check
from pyro_vae.distributions.point import Reconstructed
from pyro_vae.likelihoods.base import Likelihood

__all__ = ["Noiseless", "NoiselessShare", "has_one_unit", "noiseless"]


class Noiseless(Likelihood):
    """`x = mean + std * outputs`: a point mass, trained with an error function (see `Reconstruction`).

    Args:
        mean: Mean of each column of the training split, shape (data_dim,), in data units.
        std: Standard deviation of each column, shape (data_dim,).
        one_unit: Whether all columns have the same unit, as pixels have. Otherwise errors are in standard deviations
            of each column.
    """

    def __init__(self, mean: Tensor, std: Tensor, one_unit: bool = True) -> None:
        super().__init__(mean, std)
        self.one_unit = one_unit

    def forward(self, outputs: Tensor) -> dist.TorchDistribution:
        """Return the reconstruction from `outputs`, shape (..., data_dim), as a point mass."""
        return Reconstructed(self.mean + self.std * outputs, None if self.one_unit else self.std)


class NoiselessShare(Likelihood):
    """`x = sigmoid(logit(mean) + outputs)`: for values in [0, 1].

    Args:
        mean: Mean of each column of the training split, shape (data_dim,), in [0, 1].
        std: Standard deviation of each column, shape (data_dim,); not used.

    Raises:
        InputError: If a mean lies outside [0, 1].
    """

    offset: Tensor

    def __init__(self, mean: Tensor, std: Tensor) -> None:
        super().__init__(mean, std)
        check(
            bool(((self.mean >= 0) & (self.mean <= 1)).all()),
            "Expected values in [0, 1] for cross-entropy; some column means lie outside.",
        )
        self.register_buffer("offset", torch.logit(self.mean.clamp(1e-3, 1 - 1e-3)))

    def forward(self, outputs: Tensor) -> dist.TorchDistribution:
        """Return the reconstruction from `outputs`, shape (..., data_dim), as a point mass."""
        logits = self.offset + outputs
        return Reconstructed(logits.sigmoid(), logits=logits)


def has_one_unit(data_shape: Sequence[int], levels: int | None) -> bool:
    """Return whether all columns have the same unit, as those of images and of integer levels."""
    return len(data_shape) > 1 or levels is not None


def noiseless(likelihood: Likelihood, error: str, one_unit: bool) -> Likelihood:
    """Return the autoencoder output for the data of a likelihood.

    Args:
        likelihood: A likelihood for the same rows; its kind is that of the data.
        error: One of `objectives.reconstruction.ERRORS`.
        one_unit: Whether all columns have the same unit, see `Noiseless`.
    """
    mean, std = likelihood.mean, likelihood.std
    shares = likelihood.kind == "binary" or error == "cross-entropy"
    made: Any = NoiselessShare(mean, std) if shares else Noiseless(mean, std, one_unit)
    made.kind = likelihood.kind
    return cast(Likelihood, made)
