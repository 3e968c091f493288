"""Likelihoods by name."""

from __future__ import annotations

from pyro_vae.likelihoods.base import Likelihood
from pyro_vae.likelihoods.bernoulli import BernoulliLikelihood
from pyro_vae.likelihoods.laplace import LaplaceLikelihood
from pyro_vae.likelihoods.normal import (
    GaussianLikelihood,
    GaussianWithFixedScale,
    GaussianWithIsotropicScale,
    GaussianWithSharedScale,
)

__all__ = ["LIKELIHOODS"]

LIKELIHOODS: dict[str, type[Likelihood]] = {
    "gaussian": GaussianLikelihood,
    "gaussian-shared": GaussianWithSharedScale,
    "gaussian-isotropic": GaussianWithIsotropicScale,
    "gaussian-fixed": GaussianWithFixedScale,
    "laplace": LaplaceLikelihood,
    "bernoulli": BernoulliLikelihood,
}
