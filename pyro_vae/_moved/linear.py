"""`pyro_vae.linear` of version 0.1.0."""

from pyro_vae._moved import moved

__all__, __getattr__ = moved(
    __name__,
    {
        "pyro_vae.guides": "ExactLinearGuide",
        "pyro_vae.models": "LinearGaussianModel",
        "pyro_vae.networks": "LinearEncoder",
    },
)
