"""Loss and gradients by a graph that is traced through Pyro's handlers once, and compiled."""

from pyro_vae.compiled.cache import Cache
from pyro_vae.compiled.gradients import CompiledGradients, Evaluation, Gradients, worth_compiling
from pyro_vae.compiled.graph import Backend, inductor, uncompiled

__all__ = [
    "Backend",
    "Cache",
    "CompiledGradients",
    "Evaluation",
    "Gradients",
    "inductor",
    "uncompiled",
    "worth_compiling",
]
