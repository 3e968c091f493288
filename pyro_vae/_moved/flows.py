"""`pyro_vae.flows` of version 0.1.0."""

from pyro_vae._moved import moved

__all__, __getattr__ = moved(
    __name__,
    {
        "pyro_vae.distributions.invertible_maps": "inverse_autoregressive spline_autoregressive",
    },
)
