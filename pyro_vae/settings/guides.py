"""Settings of the guides."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar, Literal

from pyro_vae._checks import check
from pyro_vae.settings.checks import positive_or_zero
from pyro_vae.settings.declare import setting
from pyro_vae.settings.part import DataFacts, Part, load

__all__ = ["GuidePart"]


class GuidePart(Part, kind="guide", default="diagonal", help="q(z | x)"):
    """A guide. Its constructor takes a factory of the encoder, and the size of z.

    Attributes:
        is_point: Whether it is a point mass, so that model and guide are an autoencoder without a likelihood.
        latents: Names of the latents that it supports.
    """

    is_point: ClassVar[bool] = False
    latents: ClassVar[tuple[str, ...]] = ("gaussian",)

    def objective_settings(self) -> dict[str, Any]:
        """Return the settings of this part that are arguments of its objective."""
        return {}


class Autoregressive(GuidePart):
    """A guide whose map of each dimension depends on the other dimensions."""

    def check(self, config: Any) -> None:
        """Check that z has several dimensions."""
        check_several_dimensions(self, config)


def check_several_dimensions(part: Part, config: Any) -> None:
    """Raise `InputError` if z has one dimension, for a part whose dimensions depend on each other."""
    check(
        config.model.latent_dim > 1,
        f"Expected --latent-dim of at least 2 with --{part.kind} {part.name}, whose dimensions depend on each other; "
        "got 1.",
    )


_NORMAL, _FLOW = "pyro_vae.guides.normal", "pyro_vae.guides.flow"


class Diagonal(
    GuidePart, name="diagonal", target=f"{_NORMAL}:diagonal_guide", formula="N(loc(x), diag(scale(x)²))"
):
    """A normal with a diagonal covariance."""


class FullCovariance(
    GuidePart,
    name="full-covariance",
    target=f"{_NORMAL}:full_covariance_guide",
    formula="N(loc(x), L(x) L(x)ᵀ)",
):
    """A normal with a full covariance matrix."""


class LowRank(
    GuidePart, name="low-rank", target=f"{_NORMAL}:low_rank_guide", formula="N(loc(x), S (I + F(x) F(x)ᵀ) S)"
):
    """A normal with a diagonal plus a rank-four covariance."""


class Mixture(
    GuidePart,
    name="mixture",
    target="pyro_vae.guides.mixture:mixture_guide",
    formula="Σₖ wₖ(x) N(locₖ(x), diag(scaleₖ(x)²))",
):
    """A mixture of four diagonal normals."""


class InverseAutoregressive(
    Autoregressive,
    name="iaf",
    target=f"{_FLOW}:inverse_autoregressive_guide",
    formula="z = loc + scale T(e)",
):
    """A diagonal normal transformed by an inverse autoregressive flow."""


class Spline(Autoregressive, name="spline", target=f"{_FLOW}:spline_guide", formula="z = loc + scale T(e)"):
    """A diagonal normal transformed by an autoregressive spline flow."""


class Independent(
    GuidePart,
    name="independent",
    target="pyro_vae.guides.discrete:discrete_guide",
    formula="∏ Categorical(softmax(logits(x)))",
):
    """Discrete variables, independent given x; the default of discrete latents."""

    latents = ("categorical", "bernoulli")


class Point(GuidePart, name="point", target="pyro_vae.guides.point:point_guide", formula="z = encoder(x)"):
    """A point mass: the model is a deterministic autoencoder, trained by its reconstruction error."""

    is_point = True

    reconstruction: Literal["auto", "squared", "absolute", "cross-entropy"] = setting(
        "auto",
        "Reconstruction error, summed over the columns of a row. auto: absolute with --likelihood laplace, "
        "cross-entropy with bernoulli and continuous-bernoulli, otherwise squared.",
        shown="{} error",
    )
    code_penalty: float = setting(
        0.0,
        "Weight of half the squared norm of the codes in the training loss.",
        check=positive_or_zero,
        shown="code penalty {:g}",
        unless=0.0,
    )
    decoder_penalty: float = setting(
        0.0,
        "Weight of the squared norm of the decoder's weights in the training loss.",
        check=positive_or_zero,
        shown="decoder penalty {:g}",
        unless=0.0,
    )

    def check(self, config: Any) -> None:
        """Check that no other choice needs a likelihood or a prior."""
        model, training = config.model, config.training
        likelihood = model.part("likelihood")
        wanted = {
            "--objective reconstruction": (
                training.objective in ("elbo", "reconstruction"),
                f"--objective {training.objective}",
            ),
            "--prior standard-normal, because no prior is trained,": (
                model.prior == "standard-normal",
                f"--prior {model.prior}",
            ),
            "--num-particles 1, because all samples of a point are equal,": (
                training.num_particles == 1,
                f"--num-particles {training.num_particles}",
            ),
            "one latent layer": (not model.layers, f"--layers {' '.join(map(str, model.layers))}"),
            "--keep best-loss or last": (training.keep != "best-elbo", "--keep best-elbo"),
            "--likelihood bernoulli or continuous-bernoulli for --reconstruction cross-entropy": (
                self.reconstruction != "cross-entropy" or likelihood.error == "cross-entropy",
                f"--likelihood {likelihood.name}",
            ),
        }
        for expected, (holds, got) in wanted.items():
            check(
                holds,
                f"Expected {expected} with --guide point, which has no likelihood; got {got}. Leave it out.",
            )
        replace(training, objective="reconstruction").check_unused("objective")

    def resolved(self, facts: DataFacts) -> dict[str, Any]:
        """Choose the error that corresponds to the likelihood."""
        return {"reconstruction": facts.error} if self.reconstruction == "auto" else {}

    def line(self) -> str:
        """Return the name; the opening lines show the settings with the loss."""
        return self.name

    def make(self, *made_from: Any, **more: Any) -> Any:
        """Return the guide; the settings are arguments of the objective instead."""
        return load(self.target)(*made_from, **more)

    def objective_settings(self) -> dict[str, Any]:
        """Return the error and the penalties."""
        penalties = {"code_penalty": self.code_penalty, "decoder_penalty": self.decoder_penalty}
        return {"error": self.reconstruction, **penalties}
