"""`pyro_vae.closing` of version 0.1.0."""

from pyro_vae._moved import moved

__all__, __getattr__ = moved(
    __name__,
    {
        "pyro_vae.experiment.evaluation": "Evaluation evaluate",
        "pyro_vae.experiment.extent": "Extent extent_of full_cost",
    },
)
