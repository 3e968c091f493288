"""Normal guides: diagonal, full covariance, and low rank plus diagonal."""

from __future__ import annotations

import math

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyro_vae._checks import check_integer
from pyro_vae.guides.base import AmortizedGuide, MakeEncoder
from pyro_vae.networks.mlp import shrink_outputs
from pyro_vae.networks.positive import loc_and_scale

__all__ = [
    "DiagonalNormalGuide",
    "FullCovarianceGuide",
    "LowRankGuide",
    "diagonal_guide",
    "full_covariance_guide",
    "loc_and_scale",
    "low_rank_guide",
]

_ONE = torch.Size()


class DiagonalNormalGuide(AmortizedGuide):
    """`z | x ~ N(loc(x), diag(scale(x)^2))` (Kingma & Welling 2014, eq. 9).

    Args:
        encoder: Network (..., data_dim) -> (..., 2 latent_dim): locations, then raw scales.
        scale_floor: The smallest scale, in units of z, which keeps the density finite in single precision.

    Example:
        >>> import torch
        >>> from pyro_vae import DiagonalNormalGuide, mlp_encoder
        >>> x = torch.randn(100, 6)
        >>> guide = DiagonalNormalGuide(mlp_encoder(x.mean(0), x.std(0), [8], DiagonalNormalGuide.num_outputs(2)))
        >>> posterior = guide.encode(x)
        >>> posterior.mean.shape, posterior.batch_shape
        (torch.Size([100, 2]), torch.Size([100]))
    """

    def __init__(self, encoder: nn.Module, scale_floor: float = 1e-6) -> None:
        super().__init__(encoder)
        self.scale_floor = scale_floor

    def family(self, outputs: Tensor) -> dist.TorchDistribution:
        """Return the diagonal normal with parameters `outputs`, shape (..., 2 latent_dim)."""
        return dist.Normal(*loc_and_scale(outputs, self.scale_floor)).to_event(1)

    @staticmethod
    def num_outputs(latent_dim: int) -> int:
        """Return the number of encoder outputs: a location and a scale for each dimension of z."""
        return 2 * latent_dim


class _Normal(dist.MultivariateNormal):
    """A normal that scores its own samples from the noise that generated them.

    Recomputing the noise from z gives gradients through z and through L that are each as large as the inverse of L,
    which may grow exponentially with the number of dimensions. They should cancel, but do not in single precision.
    """

    _drawn: tuple[Tensor, Tensor] | None = None

    def rsample(self, sample_shape: torch.Size = _ONE) -> Tensor:
        noise = torch.randn(self.shape(sample_shape), dtype=self.loc.dtype, device=self.loc.device)
        z: Tensor = self.loc + (self.scale_tril @ noise.unsqueeze(-1)).squeeze(-1)
        self._drawn = z, noise
        return z

    def log_prob(self, value: Tensor) -> Tensor:
        if self._drawn is None or value is not self._drawn[0]:
            return super().log_prob(value)
        standard = -(self._drawn[1].square() + math.log(2 * math.pi)).sum(-1) / 2
        return standard - self.scale_tril.diagonal(dim1=-2, dim2=-1).log().sum(-1)


class FullCovarianceGuide(AmortizedGuide):
    """`z | x ~ N(loc(x), L(x) L(x)^T)`, `L = diag(scale(x)) B(x)`, B unit lower triangular.

    Kingma & Welling 2019, section 2.5.1, parameterize L directly; relative to the scale of each row it stays far from
    singular. With B = I it is the diagonal normal.

    Args:
        encoder: Network (..., data_dim) -> (..., `num_outputs(latent_dim)`): locations, raw scales, then the
            entries below the diagonal of B, row by row.
        scale_floor: The smallest scale, in units of z.
    """

    def __init__(self, encoder: nn.Module, scale_floor: float = 1e-6) -> None:
        super().__init__(encoder)
        self.scale_floor = scale_floor

    def family(self, outputs: Tensor) -> dist.TorchDistribution:
        """Return the normal with parameters `outputs`, shape (..., num_outputs)."""
        # D dimensions have D (D + 3) / 2 outputs.
        latent_dim = (math.isqrt(9 + 8 * outputs.shape[-1]) - 3) // 2
        first, below = outputs.split([2 * latent_dim, outputs.shape[-1] - 2 * latent_dim], dim=-1)
        loc, scale = loc_and_scale(first, self.scale_floor)
        rows, columns = torch.tril_indices(latent_dim, latent_dim, -1, device=outputs.device)
        factor = torch.diag_embed(torch.ones_like(scale))
        factor[..., rows, columns] = below
        factor = scale.unsqueeze(-1) * factor
        return _Normal(loc, scale_tril=factor)

    @staticmethod
    def num_outputs(latent_dim: int) -> int:
        """Return the number of encoder outputs: a location and a triangular matrix."""
        return latent_dim * (latent_dim + 3) // 2


class LowRankGuide(AmortizedGuide):
    """`z | x ~ N(loc(x), S (I + F F^T) S)`, `S = diag(scale(x))`, F(x) with few columns (Ong et al. 2018, eq. 3).

    Args:
        encoder: Network (..., data_dim) -> (..., (2 + rank) latent_dim): locations, raw scales, then F row by row.
        rank: Number of columns of F; with F = 0 it is the diagonal normal.
        scale_floor: The smallest scale, in units of z.

    Raises:
        InputError: If the rank is not a positive whole number.
    """

    def __init__(self, encoder: nn.Module, rank: int = 4, scale_floor: float = 1e-6) -> None:
        super().__init__(encoder)
        self.rank = check_integer(rank, "rank")
        self.scale_floor = scale_floor

    def family(self, outputs: Tensor) -> dist.TorchDistribution:
        """Return the normal with parameters `outputs`, shape (..., (2 + rank) latent_dim)."""
        latent_dim = outputs.shape[-1] // (2 + self.rank)
        first, factor = outputs.split([2 * latent_dim, self.rank * latent_dim], dim=-1)
        loc, scale = loc_and_scale(first, self.scale_floor)
        factor = scale.unsqueeze(-1) * factor.unflatten(-1, (latent_dim, self.rank))
        return dist.LowRankMultivariateNormal(loc, factor, scale.square())

    @staticmethod
    def num_outputs(latent_dim: int, rank: int = 4) -> int:
        """Return the number of encoder outputs: a location, a scale and a row of F for each dimension."""
        return (2 + rank) * latent_dim


def diagonal_guide(make_encoder: MakeEncoder, latent_dim: int) -> AmortizedGuide:
    """Return a diagonal normal guide."""
    return DiagonalNormalGuide(make_encoder(DiagonalNormalGuide.num_outputs(latent_dim)))


def full_covariance_guide(make_encoder: MakeEncoder, latent_dim: int) -> AmortizedGuide:
    """Return a full-covariance normal guide that starts near the diagonal normal."""
    encoder = make_encoder(FullCovarianceGuide.num_outputs(latent_dim))
    return FullCovarianceGuide(shrink_outputs(encoder, 2 * latent_dim))


def low_rank_guide(make_encoder: MakeEncoder, latent_dim: int) -> AmortizedGuide:
    """Return a low-rank normal guide that starts near the diagonal normal."""
    encoder = make_encoder(LowRankGuide.num_outputs(latent_dim))
    return LowRankGuide(shrink_outputs(encoder, 2 * latent_dim, factor=0.1))
