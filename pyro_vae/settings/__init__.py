"""Settings of every part. Each is declared once: default, help, check, opening line, and when it may change.

No heavy module is imported here, so that `--help` is fast. The command line, the checks, the saved configuration, the
opening lines of a run and the tables of the documentation are generated from these declarations.
"""

from pyro_vae.settings import (
    corruption,
    discrete_objectives,
    guides,
    latents,
    likelihoods,
    metrics,
    networks,
    objectives,
    priors,
)
from pyro_vae.settings.part import PARTS, Part

__all__ = [
    "PARTS",
    "Part",
    "corruption",
    "discrete_objectives",
    "guides",
    "latents",
    "likelihoods",
    "metrics",
    "networks",
    "objectives",
    "priors",
]
