"""Rows scored by a trained run, for `scripts/evaluate.py`."""

from pyro_vae.scoring.checks import Checks
from pyro_vae.scoring.file import ScoreFile
from pyro_vae.scoring.scoring import ScoreSettings, Scoring, open_scoring

__all__ = ["Checks", "ScoreFile", "ScoreSettings", "Scoring", "open_scoring"]
