"""Bounds on log p(x), computed from the log-probabilities of each row at each site.

An objective is a frozen dataclass. Called with a model and a guide it returns a module whose call on rows is the loss
to minimize, in nats per example.
"""

from pyro_vae.objectives.draws import Draws, RowLogProbs
from pyro_vae.objectives.elbo import ELBO, STL, AnalyticELBO
from pyro_vae.objectives.enumerated import EnumeratedELBO
from pyro_vae.objectives.estimate import (
    ElboEstimate,
    collect_elbo,
    estimate_elbo,
    non_finite_site,
    outside_support_message,
)
from pyro_vae.objectives.loss import Loss, Objective, Terms
from pyro_vae.objectives.multisample import IWAE, DReG, Renyi
from pyro_vae.objectives.reconstruction import Reconstruction
from pyro_vae.objectives.relaxed import GumbelSoftmax, StraightThrough
from pyro_vae.objectives.rows import ProgramError, draw, row_log_probs
from pyro_vae.objectives.score_function import RLOO
from pyro_vae.objectives.semi_supervised import SemiSupervisedELBO
from pyro_vae.objectives.total_correlation import TotalCorrelation
from pyro_vae.objectives.wake_sleep import ReweightedWakeSleep
from pyro_vae.settings.part import load_parts

__all__ = [
    "ELBO",
    "IWAE",
    "OBJECTIVES",
    "RLOO",
    "STL",
    "AnalyticELBO",
    "DReG",
    "Draws",
    "ElboEstimate",
    "EnumeratedELBO",
    "GumbelSoftmax",
    "Loss",
    "Objective",
    "ProgramError",
    "Reconstruction",
    "Renyi",
    "ReweightedWakeSleep",
    "RowLogProbs",
    "SemiSupervisedELBO",
    "StraightThrough",
    "Terms",
    "TotalCorrelation",
    "collect_elbo",
    "draw",
    "estimate_elbo",
    "non_finite_site",
    "outside_support_message",
    "row_log_probs",
]

OBJECTIVES: dict[str, type[Objective]] = load_parts("objective")
"""Objectives by their name on the command line."""
