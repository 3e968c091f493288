"""The exact posterior of a linear Gaussian model."""

from __future__ import annotations

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyro_vae.guides import AmortizedGuide
from pyro_vae.models.linear import LinearGaussianModel

__all__ = ["ExactLinearGuide"]


class ExactLinearGuide(AmortizedGuide):
    """The exact posterior of a linear Gaussian model at its current parameters.

    `z | x ~ N(M^-1 W^T Psi^-1 (x - loc), M^-1)` with `M = I + W^T Psi^-1 W` (Bishop 2006, eq. 12.42, for any
    diagonal Psi). The guide shares the model's parameters, so training both maximizes log p(x).

    Args:
        model: The model, stored in the guide.

    Example:
        >>> from sklearn.datasets import load_iris
        >>> from pyro_vae import ExactLinearGuide, LinearGaussianModel, estimate_elbo
        >>> from pyro_vae.baselines import PPCA
        >>> x = load_iris().data
        >>> ppca = PPCA(n_components=2).fit(x)
        >>> model = LinearGaussianModel.from_baseline(ppca)
        >>> guide = ExactLinearGuide(model)
        >>> elbo = estimate_elbo(model, guide, x)  # equal to log p(x) under the exact posterior
        >>> bool(abs(elbo.value.mean() - ppca.score(x)) < 1e-6)
        True
    """

    def __init__(self, model: LinearGaussianModel) -> None:
        super().__init__(nn.Identity())
        self.model = model

    def family(self, outputs: Tensor) -> dist.TorchDistribution:
        """Return the posterior of the rows `outputs`, shape (..., data_dim); the encoder is the identity."""
        scaled = (self.model.weight / self.model.noise_variance.unsqueeze(-1)).T  # W^T Psi^-1
        identity = torch.eye(self.model.latent_dim, dtype=outputs.dtype, device=outputs.device)
        precision = identity + scaled @ self.model.weight
        factor = torch.linalg.cholesky(precision)
        loc = torch.cholesky_solve(scaled @ (outputs - self.model.loc).unsqueeze(-1), factor).squeeze(-1)
        return dist.MultivariateNormal(loc, precision_matrix=precision)
