"""Settings of the latent: what z is made of."""

from __future__ import annotations

from typing import Any, ClassVar

from pyro_vae._checks import check
from pyro_vae.settings.checks import at_least
from pyro_vae.settings.declare import setting
from pyro_vae.settings.part import KINDS, PARTS, Part

__all__ = ["LatentPart", "names_for_latent", "with_parts_of_latent"]

_VARIABLES = "pyro_vae.distributions.discrete_variables"


class LatentPart(Part, kind="latent", default="gaussian", help="What z is made of"):
    """What z is made of, from `--latent-dim`.

    Attributes:
        own: By kind the part that stands for the kind's default, where that is for another latent.
    """

    own: ClassVar[dict[str, str]] = {}

    def width(self, latent_dim: int) -> int:
        """Return how many numbers z has, which enter the decoder."""
        return latent_dim

    def size(self, latent_dim: int) -> str:
        """Return the size of z as text, such as "20 x 10"."""
        return str(latent_dim)

    def check(self, config: Any) -> None:
        """Check that guide, prior and objective are for this latent, or the defaults."""
        chosen = {kind: getattr(config.model, kind) for kind in ("guide", "prior")}
        chosen["objective"] = config.training.objective
        for kind, name in chosen.items():
            suitable = names_for_latent(kind, self.name)
            check(
                name in suitable or (kind in self.own and name == KINDS[kind].default),
                f"Expected --{kind} {' or '.join(suitable)} with --latent {self.name}; got {name}, which is for "
                "another latent.",
            )


class Gaussian(LatentPart, name="gaussian"):
    """Real numbers, as many as --latent-dim says."""

    def make(self, *made_from: Any, **more: Any) -> Any:
        """Return the size of z."""
        return made_from[0]


class Discrete(LatentPart):
    """Discrete variables, as many as --latent-dim says."""

    own: ClassVar[dict[str, str]] = {
        "guide": "independent",
        "prior": "uniform",
        "objective": "gumbel-softmax",
    }

    def check(self, config: Any) -> None:
        """Check the parts, and that nothing is chosen that is made for real numbers."""
        super().check(config)
        model, context = config.model, config.model.part("context")
        unsuitable = {
            "one latent layer": (f"--layers {' '.join(map(str, model.layers))}", bool(model.layers)),
            "a prior without context": ("--context-prior", getattr(context, "context_prior", False)),
            "all labels or none": ("labels that are missing", context.is_partial),
        }
        for wanted, (given, is_given) in unsuitable.items():
            check(
                not is_given,
                f"Expected {wanted} with --latent {self.name}; got {given}, which is for --latent gaussian. Leave it "
                "out.",
            )
        check(
            "mixture" not in config.run.sample_from,
            f"Expected --sample-from prior with --latent {self.name}: a mixture of normals has no discrete codes; got "
            f"{' '.join(config.run.sample_from)}.",
        )


class Categorical(Discrete, name="categorical", target=f"{_VARIABLES}:Categoricals"):
    """Categorical variables, whose one-hot codes enter the decoder side by side."""

    states: int = setting(10, "States of each categorical variable.", check=at_least(2))

    def width(self, latent_dim: int) -> int:
        """Return how many numbers z has: a code of each variable."""
        return latent_dim * self.states

    def size(self, latent_dim: int) -> str:
        """Return the variables and their states as text, such as "20 x 10"."""
        return f"{latent_dim} x {self.states}"


class Bernoulli(Discrete, name="bernoulli", target=f"{_VARIABLES}:Bernoullis"):
    """Variables of two states, 0 and 1."""

    def size(self, latent_dim: int) -> str:
        """Return the variables and their states as text, such as "200 x 2"."""
        return f"{latent_dim} x 2"


def names_for_latent(kind: str, latent: str = "gaussian") -> list[str]:
    """Return the names of the guides, priors or objectives that are for a latent.

    Args:
        kind: "guide", "prior" or "objective".
        latent: Name of a latent.
    """
    parts: dict[str, Any] = dict(PARTS[kind])
    return [name for name, part in parts.items() if latent in part.latents]


def with_parts_of_latent(latent: LatentPart, chosen: dict[str, str]) -> dict[str, str]:
    """Return the names of chosen parts by kind, those of the latent's own in place of defaults for another latent.

    Args:
        latent: What z is made of.
        chosen: Names by kind.
    """
    return {
        kind: latent.own[kind] if kind in latent.own and name == KINDS[kind].default else name
        for kind, name in chosen.items()
    }
