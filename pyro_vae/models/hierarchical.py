"""A generative program of several latent layers, z_L -> ... -> z1 -> x."""

from __future__ import annotations

import pyro
from torch import Tensor, nn

from pyro_vae.likelihoods.base import Likelihood
from pyro_vae.models.generative import GenerativeModel
from pyro_vae.priors.hierarchical import HierarchicalPrior

__all__ = ["HierarchicalModel"]


class HierarchicalModel(GenerativeModel):
    """`z_L ~ p(z_L)`, `z_l | z_(l+1), ... ~ p(z_l | z_(l+1), ...)`, `x | z ~ p(x | decoder(z))`.

    A variational autoencoder of several stochastic layers (Rezende et al. 2014; Burda et al. 2016, section 5), with
    the sites "z1", nearest to x, to "zL". Methods that take or return z, such as `decode` and `sample_prior`, use all
    layers concatenated, z1 first; `prior.redrawn` resamples the lower layers.

    Args:
        prior: The prior of all layers.
        decoder: Network (rows, size of z) -> (rows, likelihood.num_outputs), called with all layers concatenated. A
            function of z1 alone reads the first columns, see `LeadingColumns`.
        likelihood: Module `decoder output -> Distribution` over x, event shape (data_dim,).
    """

    prior: HierarchicalPrior

    def __init__(self, prior: HierarchicalPrior, decoder: nn.Module, likelihood: Likelihood) -> None:
        super().__init__(prior, decoder, likelihood)

    def _latents(self, *context: Tensor) -> Tensor:
        # z_L ~ p(z_L), z_l | z_(l+1), ... ~ p(z_l | z_(l+1), ...), concatenated
        return self.prior.draw(pyro.sample)
