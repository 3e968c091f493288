"""The Fréchet distance of two sets of features."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from pyro_vae._checks import MissingPackageError, check

__all__ = ["FrechetDistance"]


class FrechetDistance:
    """Squared Fréchet distance of normals with the moments of two sets of features, in float64.

        ||m_1 - m_2||^2 + tr(S_1 + S_2 - 2 (S_1 S_2)^(1/2))

    (Dowson & Landau 1982; Heusel et al. 2017, equation 6). Its bias decreases like
    c / N with the number of samples, so only values for equal numbers of samples are comparable. Computed with
    torchmetrics, with the identity as its network.

    Args:
        reference: Features of the data, shape (N, num_features).

    Raises:
        InputError: If there are fewer rows than features: the covariance would be singular.
        MissingPackageError: If torchmetrics is missing.
    """

    names = ("frechet",)

    def __init__(self, reference: Tensor) -> None:
        self.num_features = reference.shape[1]
        self.check_usable(len(reference), self.num_features, "training rows")
        self._metric = _metric(self.num_features)
        self._metric.update(reference.double().cpu(), real=True)

    @staticmethod
    def check_usable(count: int, num_features: int, what: str) -> None:
        """Raise if the covariance of the features of `count` images would be singular, or torchmetrics is missing."""
        check(
            count >= num_features,
            f"Expected at least {num_features} {what} for the Fréchet distance, as many as there are features; got "
            f"{count}. Give more, or take the kernel distance (--metrics kid) or features of fewer dimensions "
            "(--features classifier).",
        )
        if find_spec("torchmetrics") is None:
            raise MissingPackageError(
                "The Fréchet distance needs torchmetrics; it is not installed. Install it: pip install "
                "'pyro_vae[samples]'."
            )

    @torch.no_grad()
    def __call__(self, features: Tensor) -> dict[str, float]:
        """Return the distance by name, "frechet".

        Args:
            features: Features of samples, shape (N, num_features), N at least the number of features.
        """
        self.check_usable(len(features), self.num_features, "samples")
        self._metric.reset()
        self._metric.update(features.double().cpu(), real=False)
        return {"frechet": float(self._metric.compute())}


class _Identity(nn.Identity):
    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features


def _metric(num_features: int) -> Any:
    from torchmetrics.image.fid import FrechetInceptionDistance  # 6 s of one core

    return FrechetInceptionDistance(_Identity(num_features), reset_real_features=False)
