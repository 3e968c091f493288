"""Variational autoencoders as Pyro programs, with exact baselines beside them.

Names are imported when they are first used (PEP 562), so that `import pyro_vae` costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from pyro_vae._version import __version__

if TYPE_CHECKING:
    from pyro_vae.data import DataSet, Split, load_dataset
    from pyro_vae.evaluate import (
        Annealing,
        DefensiveGuide,
        MCMCPosterior,
        NUTSPosterior,
        ResampledPosterior,
        WidenedGuide,
        annealed_log_likelihood,
        bidirectional_bounds,
        iwae_curve,
        latent_summary,
        log_likelihood,
        log_weights,
        to_arviz,
    )
    from pyro_vae.evaluate.gaps import RowFit, inference_gaps
    from pyro_vae.experiment.build import build
    from pyro_vae.experiment.config import Config
    from pyro_vae.experiment.load_run import load_run
    from pyro_vae.guides import (
        GUIDES,
        AmortizedGuide,
        DiagonalNormalGuide,
        ExactLinearGuide,
        FlowGuide,
        FullCovarianceGuide,
        LocalGuide,
        LowRankGuide,
        MixtureGuide,
        SemiAmortizedGuide,
    )
    from pyro_vae.likelihoods import LIKELIHOODS
    from pyro_vae.models import GenerativeModel, LinearGaussianModel
    from pyro_vae.networks import MLP, Standardize, mlp_decoder, mlp_encoder
    from pyro_vae.objectives import (
        ELBO,
        IWAE,
        OBJECTIVES,
        STL,
        AnalyticELBO,
        DReG,
        Renyi,
        ReweightedWakeSleep,
        estimate_elbo,
    )
    from pyro_vae.priors import (
        PRIORS,
        DiagonalNormal,
        FlowPrior,
        MixtureOfNormals,
        StandardNormal,
        VampPrior,
    )
    from pyro_vae.processes import Processes, started_processes
    from pyro_vae.training import Callback, Schedule, fit
    from pyro_vae.training.monte_carlo_em import MonteCarloEM


_HOMES = {
    "experiment.build": ("build",),
    "experiment.config": ("Config",),
    "data": ("DataSet", "Split", "load_dataset"),
    "evaluate": (
        "Annealing",
        "DefensiveGuide",
        "MCMCPosterior",
        "NUTSPosterior",
        "ResampledPosterior",
        "WidenedGuide",
        "annealed_log_likelihood",
        "bidirectional_bounds",
        "iwae_curve",
        "latent_summary",
        "log_likelihood",
        "log_weights",
        "to_arviz",
    ),
    "evaluate.gaps": ("RowFit", "inference_gaps"),
    "guides": (
        "GUIDES",
        "AmortizedGuide",
        "DiagonalNormalGuide",
        "ExactLinearGuide",
        "FlowGuide",
        "FullCovarianceGuide",
        "LocalGuide",
        "LowRankGuide",
        "MixtureGuide",
        "SemiAmortizedGuide",
    ),
    "likelihoods": ("LIKELIHOODS",),
    "models": ("GenerativeModel", "LinearGaussianModel"),
    "training.monte_carlo_em": ("MonteCarloEM",),
    "networks": ("MLP", "Standardize", "mlp_decoder", "mlp_encoder"),
    "objectives": (
        "ELBO",
        "IWAE",
        "OBJECTIVES",
        "STL",
        "AnalyticELBO",
        "DReG",
        "Renyi",
        "ReweightedWakeSleep",
        "estimate_elbo",
    ),
    "priors": (
        "PRIORS",
        "DiagonalNormal",
        "FlowPrior",
        "MixtureOfNormals",
        "StandardNormal",
        "VampPrior",
    ),
    "processes": ("Processes", "started_processes"),
    "experiment.load_run": ("load_run",),
    "training": ("Callback", "Schedule", "fit"),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"pyro_vae.{_HOME[name]}"), name)
    raise AttributeError(f"module 'pyro_vae' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
