"""Settings of the priors."""

from __future__ import annotations

from typing import Any, ClassVar

from pyro_vae._checks import check
from pyro_vae.settings.checks import size
from pyro_vae.settings.declare import setting
from pyro_vae.settings.guides import check_several_dimensions
from pyro_vae.settings.part import DataFacts, Part

__all__ = ["PriorPart"]


class PriorPart(Part, kind="prior", default="standard-normal", help="p(z)"):
    """A prior. Its constructor takes the size of z, the guide, and one training row for each component."""

    components: ClassVar[int] = 1
    """Default number of components."""
    latents: ClassVar[tuple[str, ...]] = ("gaussian",)
    """Names of the latents that it supports."""


class WithComponents(PriorPart):
    """A prior with several components."""

    prior_components: int | None = setting(
        None,
        "Number of components of p(z): normals of mixture (default 10), learned rows of vampprior (default 500).",
        check=size,
        shown="{} components",
    )

    def resolved(self, facts: DataFacts) -> dict[str, Any]:
        """Choose the number of components, at most the number of training rows."""
        return {} if self.prior_components else {"prior_components": min(self.components, facts.num_rows)}


class StandardNormal(
    PriorPart,
    name="standard-normal",
    target="pyro_vae.priors.normal:standard_normal_prior",
    formula="N(0, I)",
):
    """A fixed standard normal."""


class DiagonalNormal(
    PriorPart,
    name="diagonal-normal",
    target="pyro_vae.priors.normal:diagonal_normal_prior",
    formula="N(loc, diag(scale²))",
):
    """A learned location and scale for each dimension."""


class Mixture(
    WithComponents,
    name="mixture",
    target="pyro_vae.priors.mixture:mixture_prior",
    formula="Σₖ wₖ N(locₖ, diag(scaleₖ²))",
):
    """A learned mixture of normals."""

    components = 10


class VampPrior(
    WithComponents,
    name="vampprior",
    target="pyro_vae.priors.vampprior:vampprior_of_guide",
    formula="(1/K) Σₖ q(z given uₖ)",
):
    """The mean of the guide's densities at learned rows."""

    components = 500

    def resolved(self, facts: DataFacts) -> dict[str, Any]:
        """Choose the number of learned rows. They are initialized at training rows, whose number is the limit."""
        check(
            self.prior_components is None or self.prior_components <= facts.num_rows,
            f"Expected --prior-components of at most the {facts.num_rows} training rows that initialize them; got "
            f"{self.prior_components}.",
        )
        return super().resolved(facts)


class Flow(PriorPart, name="flow", target="pyro_vae.priors.flow:flow_prior", formula="z = T⁻¹(e)"):
    """A learned autoregressive flow."""

    def check(self, config: Any) -> None:
        """Check that z has several dimensions."""
        check_several_dimensions(self, config)


class Uniform(
    PriorPart, name="uniform", target="pyro_vae.priors.discrete:uniform_prior", formula="∏ 1/states"
):
    """Equal probabilities of all states of discrete variables; the default of discrete latents."""

    latents = ("categorical", "bernoulli")


class Learned(
    PriorPart,
    name="learned",
    target="pyro_vae.priors.discrete:learned_prior",
    formula="∏ Categorical(softmax(logits))",
):
    """Learned probabilities of the states of discrete variables."""

    latents = ("categorical", "bernoulli")
