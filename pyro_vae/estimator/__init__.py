"""The variational autoencoder as a scikit-learn estimator."""

from pyro_vae.estimator.vae import VAE

__all__ = ["VAE"]
