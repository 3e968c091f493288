"""Settings of the objectives for discrete latents."""

from __future__ import annotations

import math
from typing import Any

from pyro_vae._checks import check
from pyro_vae.settings.checks import positive
from pyro_vae.settings.declare import setting
from pyro_vae.settings.objectives import Weighted

__all__ = ["Enumerated", "Relaxation", "Rloo"]

DISCRETE = ("categorical", "bernoulli")
GIB = 2.0**30


class Relaxation(Weighted):
    """The ELBO of discrete latents with gradients of relaxed samples."""

    latents = DISCRETE

    temperature: float = setting(
        1.0,
        "Initial temperature of relaxed samples. A lower temperature reduces bias and increases noise.",
        check=positive,
        shown="temperature {:g}",
    )
    final_temperature: float = setting(
        0.5,
        "Final temperature; it decreases by a constant factor per step.",
        check=positive,
        shown="falling to {:g}",
        spread=("the temperature (--final-temperature {})", None),
    )


class GumbelSoftmax(Relaxation, name="gumbel-softmax", target="pyro_vae.objectives.relaxed:GumbelSoftmax"):
    """The ELBO of discrete latents with gradients of relaxed samples; the default of discrete latents."""


class StraightThrough(
    Relaxation, name="straight-through", target="pyro_vae.objectives.relaxed:StraightThrough"
):
    """The ELBO of discrete latents at discrete samples, with gradients of relaxed samples."""


class Rloo(Weighted, name="rloo", target="pyro_vae.objectives.score_function:RLOO"):
    """The ELBO of discrete latents with score-function gradients and the mean of the other samples as baseline."""

    latents = DISCRETE

    def check(self, config: Any) -> None:
        """Check that there are several samples."""
        check(
            config.training.num_particles > 1,
            "Expected --num-particles of at least 2, such as 4, with --objective rloo, because its baseline is the "
            "mean of the other samples; got 1.",
        )


class Enumerated(Weighted, name="enumerated", target="pyro_vae.objectives.enumerated:EnumeratedELBO"):
    """The ELBO of discrete latents summed over all states of z; for few states."""

    latents = DISCRETE

    enumeration_gib: float = setting(
        1.0,
        "Memory limit for z and x of all states of a batch, in GiB.",
        check=positive,
        argument="max_gib",
    )

    def check(self, config: Any) -> None:
        """Check that the states of z fit into memory. The size of x is not known here and is left out."""
        latent, count = config.model.part("latent"), config.model.latent_dim
        if latent.name not in DISCRETE:
            return  # `LatentPart.check` raises for this objective
        states = float(getattr(latent, "states", 2))
        batch, numbers = config.training.batch_size, latent.width(count)
        logarithm = count * math.log10(states) + math.log10(batch * numbers * 4 / GIB)
        check(
            logarithm <= math.log10(self.enumeration_gib),
            f"Expected few enough states of z for --objective enumerated, within {self.enumeration_gib:g} GiB "
            f"(--enumeration-gib); --latent-dim {count} of {states:g} states has {_power(count * math.log10(states))}, "
            f"and z alone would take {_power(logarithm)} GiB for {batch} rows. Use --objective rloo, gumbel-softmax or "
            "straight-through.",
        )


def _power(logarithm: float) -> str:
    """Return 10**logarithm as text, such as "1e+20"; it may exceed the range of a float."""
    exponent = math.floor(logarithm)
    return f"{10 ** (logarithm - exponent):.3g}e{exponent:+d}" if exponent > 5 else f"{10**logarithm:.3g}"
