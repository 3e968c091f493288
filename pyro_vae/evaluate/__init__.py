"""Evaluation of trained models: log p(x) with errors, gaps, latents, imputation, samples."""

from pyro_vae.evaluate.annealing import annealed_log_likelihood, bidirectional_bounds
from pyro_vae.evaluate.bounds import AnnealedLogLikelihood, BidirectionalBounds
from pyro_vae.evaluate.cells import CellScores, cell_log_likelihood
from pyro_vae.evaluate.codes import CodeUsage, code_usage
from pyro_vae.evaluate.curve import IWAECurve, iwae_curve
from pyro_vae.evaluate.decomposition import DivergenceInParts, DivergenceMetric, divergence_in_parts
from pyro_vae.evaluate.importance import log_likelihood, log_weights
from pyro_vae.evaluate.imputation import Imputation, impute
from pyro_vae.evaluate.inference_data import to_arviz
from pyro_vae.evaluate.information_gap import InformationGap, information_gap
from pyro_vae.evaluate.latent import (
    BoundedEstimate,
    LatentSummary,
    SiteSummary,
    latent_summary,
    site_summaries,
)
from pyro_vae.evaluate.mcmc_posterior import MCMCPosterior
from pyro_vae.evaluate.posteriors import NUTSPosterior, ResampledPosterior
from pyro_vae.evaluate.proposals import DefensiveGuide, JointDefensiveGuide, WidenedGuide
from pyro_vae.evaluate.scores import LogLikelihood
from pyro_vae.evaluate.temperatures import Annealing

__all__ = [
    "AnnealedLogLikelihood",
    "Annealing",
    "BidirectionalBounds",
    "BoundedEstimate",
    "CellScores",
    "CodeUsage",
    "DefensiveGuide",
    "DivergenceInParts",
    "DivergenceMetric",
    "IWAECurve",
    "Imputation",
    "InformationGap",
    "JointDefensiveGuide",
    "LatentSummary",
    "LogLikelihood",
    "MCMCPosterior",
    "NUTSPosterior",
    "ResampledPosterior",
    "SiteSummary",
    "WidenedGuide",
    "annealed_log_likelihood",
    "bidirectional_bounds",
    "cell_log_likelihood",
    "code_usage",
    "divergence_in_parts",
    "impute",
    "information_gap",
    "iwae_curve",
    "latent_summary",
    "log_likelihood",
    "log_weights",
    "site_summaries",
    "to_arviz",
]

__path__.append(f"{__path__[0]}/../_moved/evaluate")  # modules of version 0.1.0 under their old names
