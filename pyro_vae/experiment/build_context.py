"""Parts of the programs for a context: embedded labels, a conditional prior, a classifier."""

from __future__ import annotations

from typing import Any

from torch import nn

from pyro_vae.experiment.config import ModelConfig
from pyro_vae.guides import AmortizedGuide, SemiSupervisedGuide
from pyro_vae.likelihoods.base import Likelihood
from pyro_vae.models import GenerativeModel, SemiSupervisedModel
from pyro_vae.networks.label_embedding import EmbeddedLabels
from pyro_vae.priors import ConditionalNormal

__all__ = ["context_prior", "semi_supervised", "with_embedding"]


def with_embedding(config: ModelConfig, architecture: Any) -> Any:
    """Return an architecture; its networks embed labels if the configuration has an embedding size."""
    embedding_dim = getattr(config.part("context"), "label_embedding", 0)
    return EmbeddedLabels(architecture, embedding_dim) if embedding_dim else architecture


def context_prior(config: ModelConfig, context_dim: int) -> ConditionalNormal | None:
    """Return the prior p(z | context) if the configuration has one, else None."""
    if not getattr(config.part("context"), "context_prior", False):
        return None
    return ConditionalNormal(config.latent_dim, context_dim, activation=config.activation)


def semi_supervised(
    prior: nn.Module,
    decoder: nn.Module,
    likelihood: Likelihood,
    guide: AmortizedGuide,
    classifier: nn.Module,
    num_classes: int,
) -> tuple[GenerativeModel, AmortizedGuide]:
    """Return model and guide with the class as a latent site, from the parts of a model and guide conditioned on it."""
    model = SemiSupervisedModel(prior, decoder, likelihood, num_classes)
    return model, SemiSupervisedGuide(classifier, guide)
