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
    """A prior, made from the size of z, the guide, and as many training rows as it has components."""

    components: ClassVar[int] = 1
    """Components where their number is not given."""
    latents: ClassVar[tuple[str, ...]] = ("gaussian",)
    """The latents that it is for."""


class WithComponents(PriorPart):
    """A prior of several components."""

    prior_components: int | None = setting(
        None,
        "How many normals (of mixture) or learned rows (of vampprior) make up p(z); 10 and 500 where not given.",
        check=size,
        shown="{} components",
    )

    def resolved(self, facts: DataFacts) -> dict[str, Any]:
        """Choose the number of components, at most that of the rows."""
        return {} if self.prior_components else {"prior_components": min(self.components, facts.num_rows)}


class StandardNormal(
    PriorPart,
    name="standard-normal",
    target="pyro_vae.priors.normal:standard_normal_prior",
    formula="N(0, I)",
):
    """Fixed."""


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
    """The guide's posterior averaged over learned rows."""

    components = 500

    def resolved(self, facts: DataFacts) -> dict[str, Any]:
        """Choose the number of learned rows; a given one is at most that of the training rows that they start at."""
        check(
            self.prior_components is None or self.prior_components <= facts.num_rows,
            f"Expected --prior-components of at most the {facts.num_rows} training rows that they start at; got "
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
    """All states of discrete variables alike; the default of discrete latents."""

    latents = ("categorical", "bernoulli")


class Learned(
    PriorPart,
    name="learned",
    target="pyro_vae.priors.discrete:learned_prior",
    formula="∏ Categorical(softmax(logits))",
):
    """Discrete variables with learned probabilities of their states."""

    latents = ("categorical", "bernoulli")
