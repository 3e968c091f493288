"""Rows scored by a trained run, for `pyro-vae evaluate`."""

from pyro_vae.experiment.scoring.checks import Checks
from pyro_vae.experiment.scoring.errors import score_errors
from pyro_vae.experiment.scoring.rows_to_score import open_scoring
from pyro_vae.experiment.scoring.scores_csv import ScoreFile
from pyro_vae.experiment.scoring.scoring import Scoring
from pyro_vae.experiment.scoring.settings import ScoreSettings

__all__ = ["Checks", "ScoreFile", "ScoreSettings", "Scoring", "open_scoring", "score_errors"]
