"""Settings of the latent: the type of z."""

from __future__ import annotations

from typing import Any, ClassVar

from pyro_vae._checks import check
from pyro_vae.settings.checks import at_least
from pyro_vae.settings.declare import setting
from pyro_vae.settings.part import KINDS, PARTS, Part

__all__ = ["LatentPart", "names_for_latent", "with_parts_of_latent"]

_VARIABLES = "pyro_vae.distributions.discrete_variables"


class LatentPart(Part, kind="latent", default="gaussian", help="Type of z"):
    """The type of z. Its constructor takes `--latent-dim`.

    Attributes:
        own: Default parts of this latent by kind, in place of a kind's default that does not support it.
    """

    own: ClassVar[dict[str, str]] = {}

    def width(self, latent_dim: int) -> int:
        """Return the number of inputs of the decoder."""
        return latent_dim

    def size(self, latent_dim: int) -> str:
        """Return the size of z as text, such as "20 x 10"."""
        return str(latent_dim)

    def check(self, config: Any) -> None:
        """Check that guide, prior and objective support this latent or are the defaults."""
        chosen = {kind: getattr(config.model, kind) for kind in ("guide", "prior")}
        chosen["objective"] = config.training.objective
        for kind, name in chosen.items():
            suitable = names_for_latent(kind, self.name)
            check(
                name in suitable or (kind in self.own and name == KINDS[kind].default),
                f"Expected --{kind} {' or '.join(suitable)} with --latent {self.name}; got {name}, which does not "
                "support it.",
            )


class Gaussian(LatentPart, name="gaussian"):
    """--latent-dim real numbers."""

    def make(self, *made_from: Any, **more: Any) -> Any:
        """Return the size of z."""
        return made_from[0]


class Discrete(LatentPart):
    """--latent-dim discrete variables."""

    own: ClassVar[dict[str, str]] = {
        "guide": "independent",
        "prior": "uniform",
        "objective": "gumbel-softmax",
    }

    def check(self, config: Any) -> None:
        """Check the parts, and that no setting is given that needs a continuous z."""
        super().check(config)
        model, context = config.model, config.model.part("context")
        unsuitable = {
            "one latent layer": (f"--layers {' '.join(map(str, model.layers))}", bool(model.layers)),
            "a prior without context": ("--context-prior", getattr(context, "context_prior", False)),
            "all labels or none": ("missing labels", context.is_partial),
        }
        for wanted, (given, is_given) in unsuitable.items():
            check(
                not is_given,
                f"Expected {wanted} with --latent {self.name}; got {given}, which needs --latent gaussian. Leave it "
                "out.",
            )
        check(
            "mixture" not in config.run.sample_from,
            f"Expected --sample-from prior with --latent {self.name}: samples of a mixture of normals are not "
            f"discrete; got {' '.join(config.run.sample_from)}.",
        )


class Categorical(Discrete, name="categorical", target=f"{_VARIABLES}:Categoricals"):
    """Categorical variables; their concatenated one-hot codes are the input of the decoder."""

    states: int = setting(10, "States of each categorical variable.", check=at_least(2))

    def width(self, latent_dim: int) -> int:
        """Return the number of inputs of the decoder: a one-hot code for each variable."""
        return latent_dim * self.states

    def size(self, latent_dim: int) -> str:
        """Return the variables and their states as text, such as "20 x 10"."""
        return f"{latent_dim} x {self.states}"


class Bernoulli(Discrete, name="bernoulli", target=f"{_VARIABLES}:Bernoullis"):
    """Binary variables, 0 and 1."""

    def size(self, latent_dim: int) -> str:
        """Return the variables and their states as text, such as "200 x 2"."""
        return f"{latent_dim} x 2"


def names_for_latent(kind: str, latent: str = "gaussian") -> list[str]:
    """Return the names of the guides, priors or objectives that support a latent.

    Args:
        kind: "guide", "prior" or "objective".
        latent: Name of the latent.
    """
    parts: dict[str, Any] = dict(PARTS[kind])
    return [name for name, part in parts.items() if latent in part.latents]


def with_parts_of_latent(latent: LatentPart, chosen: dict[str, str]) -> dict[str, str]:
    """Return the names of the chosen parts by kind, with the defaults replaced by those of the latent.

    Args:
        latent: The type of z.
        chosen: Names by kind.
    """
    return {
        kind: latent.own[kind] if kind in latent.own and name == KINDS[kind].default else name
        for kind, name in chosen.items()
    }
