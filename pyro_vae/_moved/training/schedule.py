"""`pyro_vae.training.schedule` of version 0.1.0."""

from pyro_vae._moved import moved

__all__, __getattr__ = moved(
    __name__,
    {
        "pyro_vae.training": "Schedule",
    },
)
