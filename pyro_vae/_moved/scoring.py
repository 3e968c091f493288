"""`pyro_vae.scoring` of version 0.1.0."""

from pyro_vae._moved import moved

__all__, __getattr__ = moved(
    __name__,
    {
        "pyro_vae.experiment.scoring": "Checks ScoreFile ScoreSettings Scoring open_scoring",
    },
)
