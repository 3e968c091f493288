"""Priors by name."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from pyro_vae.settings.part import load_parts

__all__ = ["PRIORS"]

MakePrior = Callable[..., nn.Module]
"""Function from the size of z, the guide and training rows (one per component) to a prior."""

PRIORS: dict[str, MakePrior] = load_parts("prior")
"""Priors by their name on the command line, as `pyro_vae.settings.priors` declares them."""
