"""Linear Gaussian models as Pyro programs: the variational autoencoder whose answers are known exactly.

With a linear decoder the model is probabilistic PCA (one noise scale) or factor analysis (one a column), and
its posterior is Gaussian: under `ExactLinearGuide` the ELBO of every row is log p(x) itself, for every draw.
"""

from __future__ import annotations

from typing import Self

import numpy as np
import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyro_vae._pickling import Picklable
from pyro_vae.baselines import PPCA, FactorAnalysis
from pyro_vae.guides import AmortizedGuide
from pyro_vae.likelihoods import UNIT, GaussianWithIsotropicScale, GaussianWithSharedScale
from pyro_vae.models import GenerativeModel
from pyro_vae.networks import Standardize
from pyro_vae.priors import StandardNormal

__all__ = ["ExactLinearGuide", "LinearEncoder", "LinearGaussianModel"]


class LinearGaussianModel(GenerativeModel):
    """`z ~ N(0, I)`, `x | z ~ N(W z + loc, Psi)`: PPCA (Tipping & Bishop 1999, eq. 2) or factor analysis.

    Args:
        latent_dim: Size of z.
        likelihood: With one scale, `GaussianWithIsotropicScale`, for PPCA; with one a column,
            `GaussianWithSharedScale`, for factor analysis.
    """

    likelihood: GaussianWithSharedScale
    decoder: nn.Linear

    def __init__(self, latent_dim: int, likelihood: GaussianWithSharedScale) -> None:
        super().__init__(StandardNormal(latent_dim), nn.Linear(latent_dim, likelihood.data_dim), likelihood)
        nn.init.zeros_(self.decoder.bias)

    @property
    def weight(self) -> Tensor:
        """W in data units, shape (data_dim, latent_dim)."""
        return self.likelihood.std.unsqueeze(-1) * self.decoder.weight

    @property
    def loc(self) -> Tensor:
        """Mean of x, shape (data_dim,), in data units."""
        return self.likelihood.mean + self.likelihood.std * self.decoder.bias

    @property
    def noise_variance(self) -> Tensor:
        """Diagonal of Psi, shape (data_dim,), in squared data units."""
        return self.likelihood.scale(self.likelihood.raw_scale).square()

    @classmethod
    def from_baseline(cls, baseline: PPCA | FactorAnalysis) -> Self:
        """Return the model that a fitted `PPCA` (or `PPCAEM`) or `FactorAnalysis` is, in float64.

        Args:
            baseline: Fitted; `components_`, `mean_` and `noise_variance_` are carried over.
        """
        loc = torch.from_numpy(np.array(baseline.mean_))
        scale = torch.from_numpy(np.atleast_1d(np.sqrt(baseline.noise_variance_)))
        kind = (
            GaussianWithIsotropicScale if np.ndim(baseline.noise_variance_) == 0 else GaussianWithSharedScale
        )
        floor = 1e-3 * float(scale.min())
        model = cls(len(baseline.components_), kind(loc, scale.expand(len(loc)), floor)).double()
        likelihood = model.likelihood
        with torch.no_grad():
            # Over again in float64: buffers are made in torch's default precision.
            likelihood.mean.copy_(loc)
            likelihood.std.copy_(scale.expand(len(loc)))
            likelihood.scale_floor.fill_(floor)
            model.decoder.weight.copy_(
                torch.from_numpy(baseline.components_.T.copy()) / likelihood.std.unsqueeze(-1)
            )
            likelihood.raw_scale.copy_(_raw_scale(scale, floor).reshape(likelihood.raw_scale.shape))
        return model

    @torch.no_grad()
    def to_baseline(self) -> PPCA | FactorAnalysis:
        """Return the fitted scikit-learn estimator that this model is: `PPCA` or `FactorAnalysis`.

        Its components are the columns of W rotated to be orthogonal (in units of the noise), largest first: the
        likelihood does not know a rotation of z.
        """
        noise = self.noise_variance.double().cpu().numpy()
        isotropic = isinstance(self.likelihood, GaussianWithIsotropicScale)
        baseline = PPCA(self.latent_dim) if isotropic else FactorAnalysis(self.latent_dim)
        scaled = self.weight.double().cpu().numpy() / np.sqrt(noise)[:, None]
        axes, spread, _ = np.linalg.svd(scaled, full_matrices=False)
        baseline.components_ = (axes * spread * np.sqrt(noise)[:, None]).T
        baseline.mean_ = self.loc.double().cpu().numpy()
        baseline.noise_variance_ = float(noise[0]) if isotropic else noise
        baseline.n_features_in_ = len(noise)
        if isotropic:
            baseline.explained_variance_ = (spread**2 + 1) * noise[0]
        return baseline


def _raw_scale(scale: Tensor, floor: float) -> Tensor:
    """Return what the likelihood turns into `scale` where its own standard deviation is that scale."""
    return torch.log(torch.expm1((scale - floor) / scale)) - UNIT


class LinearEncoder(Picklable):
    """The encoder of the linear VAE, `x -> (V (x - loc) / scale, constant)` (Lucas et al. 2019, eq. 8).

    Feeds `DiagonalNormalGuide`: the posterior's location is linear in x, its scale the same for every row, as
    they are in the linear Gaussian model.

    Args:
        loc: What is subtracted from x, shape (data_dim,).
        scale: What x is divided by, shape (data_dim,).
        latent_dim: Size of z.
    """

    def __init__(self, loc: Tensor, scale: Tensor, latent_dim: int) -> None:
        super().__init__()
        self.standardize = Standardize(loc, scale)
        self.linear = nn.Linear(len(loc), latent_dim)
        self.raw_scale = nn.Parameter(torch.zeros(latent_dim))

    def forward(self, x: Tensor) -> Tensor:
        """Return locations and raw scales, shape (..., 2 latent_dim)."""
        loc = self.linear(self.standardize(x))
        return torch.cat([loc, self.raw_scale.expand_as(loc)], dim=-1)


class ExactLinearGuide(AmortizedGuide):
    """The posterior of a linear Gaussian model at its present parameters.

    `z | x ~ N(M^-1 W^T Psi^-1 (x - loc), M^-1)` with `M = I + W^T Psi^-1 W` (Bishop 2006, eq. 12.42, for any
    diagonal Psi). The model's parameters are this guide's own, so training both climbs log p(x).

    Args:
        model: The model, which stays in the guide.
    """

    def __init__(self, model: LinearGaussianModel) -> None:
        super().__init__(nn.Identity())
        self.model = model

    def family(self, outputs: Tensor) -> dist.TorchDistribution:
        """Return the posterior of the rows `outputs`, shape (..., data_dim): the encoder is the identity."""
        scaled = (self.model.weight / self.model.noise_variance.unsqueeze(-1)).T  # W^T Psi^-1
        identity = torch.eye(self.model.latent_dim, dtype=outputs.dtype, device=outputs.device)
        precision = identity + scaled @ self.model.weight
        factor = torch.linalg.cholesky(precision)
        loc = torch.cholesky_solve(scaled @ (outputs - self.model.loc).unsqueeze(-1), factor).squeeze(-1)
        return dist.MultivariateNormal(loc, precision_matrix=precision)
