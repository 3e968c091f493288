"""Likelihoods by name."""

from __future__ import annotations

from pyro_vae.likelihoods.base import Likelihood
from pyro_vae.settings.part import load_parts

__all__ = ["LIKELIHOODS"]

LIKELIHOODS: dict[str, type[Likelihood]] = load_parts("likelihood")
"""Likelihoods by their name on the command line, as `pyro_vae.settings.likelihoods` declares them."""
