"""`pyro_vae.monte_carlo_em` of version 0.1.0."""

from pyro_vae._moved import moved

__all__, __getattr__ = moved(
    __name__,
    {
        "pyro_vae.training.monte_carlo_em": "MonteCarloEM MonteCarloEMResult",
    },
)
