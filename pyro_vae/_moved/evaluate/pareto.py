"""`pyro_vae.evaluate.pareto` of version 0.1.0."""

from pyro_vae._moved import moved

__all__, __getattr__ = moved(
    __name__,
    {
        "pyro_vae.evaluate.pareto_k": "pareto_khat tail_length",
    },
)
