"""`pyro_vae.building` of version 0.1.0."""

from pyro_vae._moved import moved

__all__, __getattr__ = moved(
    __name__,
    {
        "pyro_vae.experiment.build": "build starting_rows",
        "pyro_vae.experiment.resolve": "default_epochs fit_settings objective resolve",
    },
)
