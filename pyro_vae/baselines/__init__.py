"""Exact baselines: linear Gaussian models whose log-likelihood is known, as scikit-learn estimators."""

from pyro_vae.baselines._moments import Moments
from pyro_vae.baselines.factor_analysis import FactorAnalysis
from pyro_vae.baselines.mixture import MixtureOfPPCA
from pyro_vae.baselines.ppca import PPCA
from pyro_vae.baselines.ppca_em import PPCAEM

__all__ = ["PPCA", "PPCAEM", "FactorAnalysis", "MixtureOfPPCA", "Moments"]
