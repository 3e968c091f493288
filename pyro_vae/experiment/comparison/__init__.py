"""Comparison of exact baselines and variational autoencoders on the same rows, in the same unit."""

from pyro_vae.experiment.comparison.baseline_entries import (
    NAMES,
    exact_baselines,
    linear_baselines,
    no_density,
)
from pyro_vae.experiment.comparison.compare import MODELS, Comparison, compare
from pyro_vae.experiment.comparison.entries import BOUND, Entry, density_shift, fit_baseline, fit_vae
from pyro_vae.experiment.comparison.linear_vae import LinearVAE, fit_linear_vae
from pyro_vae.experiment.comparison.pooled_moments import pooled_moments
from pyro_vae.experiment.comparison.scored_rows import (
    SCORED_ROWS,
    SCORED_SAMPLES,
    score_rows,
    score_some,
    scores_summary,
)
from pyro_vae.statistics import mean_and_se

__all__ = [
    "BOUND",
    "MODELS",
    "NAMES",
    "SCORED_ROWS",
    "SCORED_SAMPLES",
    "Comparison",
    "Entry",
    "LinearVAE",
    "compare",
    "density_shift",
    "exact_baselines",
    "fit_baseline",
    "fit_linear_vae",
    "fit_vae",
    "linear_baselines",
    "mean_and_se",
    "no_density",
    "pooled_moments",
    "score_rows",
    "score_some",
    "scores_summary",
]
