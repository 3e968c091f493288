"""Likelihoods p(x | z): modules from the decoder's output to a distribution over rows."""

from pyro_vae.likelihoods.base import Likelihood, fill_constant, typical_scale
from pyro_vae.likelihoods.bernoulli import BernoulliLikelihood
from pyro_vae.likelihoods.laplace import LaplaceLikelihood
from pyro_vae.likelihoods.normal import (
    GaussianLikelihood,
    GaussianWithFixedScale,
    GaussianWithIsotropicScale,
    GaussianWithSharedScale,
)
from pyro_vae.likelihoods.registry import LIKELIHOODS
from pyro_vae.likelihoods.student_t import StudentTLikelihood

__all__ = [
    "LIKELIHOODS",
    "BernoulliLikelihood",
    "GaussianLikelihood",
    "GaussianWithFixedScale",
    "GaussianWithIsotropicScale",
    "GaussianWithSharedScale",
    "LaplaceLikelihood",
    "Likelihood",
    "StudentTLikelihood",
    "fill_constant",
    "typical_scale",
]
