"""Rows scored by a trained run, for `scripts/evaluate.py`."""

from pyro_vae.experiment.scoring.checks import Checks
from pyro_vae.experiment.scoring.scores_csv import ScoreFile
from pyro_vae.experiment.scoring.scoring import ScoreSettings, Scoring, open_scoring

__all__ = ["Checks", "ScoreFile", "ScoreSettings", "Scoring", "open_scoring"]
