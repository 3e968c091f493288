"""Linear Gaussian models as Pyro programs, with exact log-likelihood."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np
import torch
from torch import Tensor, nn

from pyro_vae.likelihoods.normal import GaussianWithIsotropicScale, GaussianWithSharedScale
from pyro_vae.models.generative import GenerativeModel
from pyro_vae.networks.positive import UNIT
from pyro_vae.priors.normal import StandardNormal

if TYPE_CHECKING:
    from pyro_vae.baselines import PPCA, FactorAnalysis

__all__ = ["LinearGaussianModel"]


class LinearGaussianModel(GenerativeModel):
    """`z ~ N(0, I)`, `x | z ~ N(W z + loc, Psi)`: PPCA (Tipping & Bishop 1999, eq. 2) or factor analysis.

    Args:
        latent_dim: Size of z.
        likelihood: `GaussianWithIsotropicScale` (one scale) for PPCA; `GaussianWithSharedScale` (one scale per
            column) for factor analysis.

    Example:
        >>> from sklearn.datasets import load_iris
        >>> from pyro_vae import ExactLinearGuide, LinearGaussianModel
        >>> from pyro_vae.baselines import PPCA
        >>> x = load_iris().data
        >>> ppca = PPCA(n_components=2).fit(x)
        >>> model = LinearGaussianModel.from_baseline(ppca)
        >>> guide = ExactLinearGuide(model)
        >>> z = guide.encode(x).mean
        >>> z.shape
        torch.Size([150, 2])
        >>> model.to_baseline().score(x) - ppca.score(x) < 1e-9
        True
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
        """Return a fitted `PPCA` (or `PPCAEM`) or `FactorAnalysis` as a Pyro program, in float64.

        Args:
            baseline: The fitted estimator; `components_`, `mean_` and `noise_variance_` are copied.
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
            # Set again in float64: buffers are created in torch's default precision.
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
        """Return this model as a fitted scikit-learn estimator, `PPCA` or `FactorAnalysis`.

        Its components are the columns of W rotated to be orthogonal (in units of the noise), largest first. The
        likelihood is invariant to rotations of z.
        """
        # Imported here because training does not need scikit-learn.
        from pyro_vae.baselines import PPCA, FactorAnalysis

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
    """Return the unconstrained parameter that the likelihood maps to `scale`."""
    return torch.log(torch.expm1((scale - floor) / scale)) - UNIT
