"""The mixture of discretized logistics, for images, in particular colour images."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pyro.distributions as dist
import torch
from torch import Tensor

from pyro_vae._checks import check, check_integer
from pyro_vae.distributions.logistic_mixture import LogisticMixture
from pyro_vae.likelihoods.integer import IntegerLikelihood
from pyro_vae.networks.architecture import num_positions

__all__ = ["LogisticMixtureLikelihood"]

NARROWER = 0.5
"""Initial standard deviation of a component relative to the column's; the rest is spread of their locations."""


class LogisticMixtureLikelihood(IntegerLikelihood):
    """A mixture of discretized logistics for each pixel, channels linear in the earlier ones (Salimans et al. 2017).

    `P(x | z) = prod_p sum_k w_kp(z) prod_c P(x_cp | loc_kcp(z) + sum_{j<c} a_kcjp(z) (x_jp - mean_jp), s_kcp(z))`;
    see `LogisticMixture`. The coefficients a are bounded by 2 in size. For outputs of zero the components lie at
    quantiles of the column's distribution, so the mixture has its mean and standard deviation.

    The outputs of a pixel, map by map: K logits of the weights, then K locations, K raw scales of each channel, then
    the K coefficients of each pair of channels: `K (1 + 2 C + C (C - 1) / 2)` in total.

    Args:
        mean: Mean of each column of the training split, shape (data_dim,), with x in [0, 1].
        std: Standard deviation of each column, shape (data_dim,).
        levels: Number of integer levels.
        data_shape: Shape of a row: (D,), (height, width), or (channels, height, width).
        num_components: K.
    """

    spread: Tensor

    def __init__(
        self, mean: Tensor, std: Tensor, levels: int, data_shape: Sequence[int], num_components: int = 5
    ) -> None:
        super().__init__(mean, std, levels)
        check(
            math.prod(data_shape) == self.data_dim,
            f"Expected data_shape of {self.data_dim} entries, as many as mean has; got {tuple(data_shape)}.",
        )
        self.num_components = check_integer(num_components, "num_components")
        self.num_positions = num_positions(data_shape)
        self.num_channels = self.data_dim // self.num_positions
        self.register_buffer("spread", _quantiles(num_components).to(self.mean.dtype))

    @property
    def num_outputs(self) -> int:
        """Number of decoder outputs for one row."""
        channels = self.num_channels
        return self.num_components * (1 + 2 * channels + channels * (channels - 1) // 2) * self.num_positions

    def forward(self, outputs: Tensor) -> dist.TorchDistribution:
        """Return p(x | z) from `outputs`, shape (..., num_outputs)."""
        components, channels = self.num_components, self.num_channels
        maps = outputs.unflatten(-1, (-1, components, self.num_positions)).transpose(-3, -2)
        logits, loc, raw_scale, raw = maps.split(
            (1, channels, channels, maps.shape[-2] - 1 - 2 * channels), dim=-2
        )
        mean, std, typical = (
            column.view(channels, self.num_positions) for column in (self.mean, self.std, self.level_scale)
        )
        narrower = NARROWER if components > 1 else 1.0
        return LogisticMixture(
            logits.squeeze(-2),
            mean + std * (loc + self.spread[:, None, None]),
            self.scale(raw_scale, narrower * typical),
            2 * torch.tanh(raw / 2),
            mean,
            self.levels,
        )


def _quantiles(count: int) -> Tensor:
    """Return initial locations in standard deviations, with mean 0 and variance `1 - NARROWER^2`; 0 if `count` is 1."""
    if count == 1:
        return torch.zeros(1)
    points = torch.logit((torch.arange(count, dtype=torch.float64) + 0.5) / count)
    return points * math.sqrt((1 - NARROWER**2) / float(points.square().mean()))
