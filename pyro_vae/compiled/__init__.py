"""Loss and gradients, traced once through Pyro's handlers and compiled."""

from pyro_vae.compiled.cache import Cache
from pyro_vae.compiled.function import CompiledFunction
from pyro_vae.compiled.gradients import CompiledGradients, Evaluation, Gradients, worth_compiling
from pyro_vae.compiled.graph import Backend, inductor, uncompiled

__all__ = [
    "Backend",
    "Cache",
    "CompiledFunction",
    "CompiledGradients",
    "Evaluation",
    "Gradients",
    "inductor",
    "uncompiled",
    "worth_compiling",
]
