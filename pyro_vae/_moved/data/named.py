"""`pyro_vae.data.named` of version 0.1.0."""

from pyro_vae._moved import moved

__all__, __getattr__ = moved(
    __name__,
    {
        "pyro_vae.data.named_datasets": "DATASETS read_named",
    },
)
