"""Likelihoods p(x | z): modules from the decoder's output to a distribution over rows."""

from pyro_vae.likelihoods.base import Likelihood, fill_constant, geometric_scale, typical_scale
from pyro_vae.likelihoods.bernoulli import BernoulliLikelihood
from pyro_vae.likelihoods.categorical import CategoricalLikelihood
from pyro_vae.likelihoods.continuous_bernoulli import ContinuousBernoulliLikelihood
from pyro_vae.likelihoods.discretized_logistic import DiscretizedLogisticLikelihood
from pyro_vae.likelihoods.laplace import LaplaceLikelihood
from pyro_vae.likelihoods.logistic_mixture import LogisticMixtureLikelihood
from pyro_vae.likelihoods.noiseless import Noiseless, NoiselessShare
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
    "CategoricalLikelihood",
    "ContinuousBernoulliLikelihood",
    "DiscretizedLogisticLikelihood",
    "GaussianLikelihood",
    "GaussianWithFixedScale",
    "GaussianWithIsotropicScale",
    "GaussianWithSharedScale",
    "LaplaceLikelihood",
    "Likelihood",
    "LogisticMixtureLikelihood",
    "Noiseless",
    "NoiselessShare",
    "StudentTLikelihood",
    "fill_constant",
    "geometric_scale",
    "typical_scale",
]
