"""`pyro_vae.checkpoint` of version 0.1.0."""

from pyro_vae._moved import moved

__all__, __getattr__ = moved(
    __name__,
    {
        "pyro_vae.experiment.checkpoint": "load_state load_weights save_state save_weights",
        "pyro_vae.storage": "StorageError write_atomically write_json",
    },
)
