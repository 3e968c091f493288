"""`pyro_vae.mcmc` of version 0.1.0."""

from pyro_vae._moved import moved

__all__, __getattr__ = moved(
    __name__,
    {
        "pyro_vae.evaluate.hmc": "HMC HMCInfo HMCSamples HMCState LogDensity init leapfrog",
    },
)
