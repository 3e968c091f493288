"""Settings of the guides."""

from __future__ import annotations

from typing import Any

from pyro_vae._checks import check
from pyro_vae.settings.part import Part

__all__ = ["GuidePart"]


class GuidePart(Part, kind="guide", default="diagonal", help="q(z | x)"):
    """A guide, made from what makes its encoder, and the size of z."""


class Autoregressive(GuidePart):
    """A guide whose maps of each dimension depend on the others."""

    def check(self, config: Any) -> None:
        """Check that z has several dimensions."""
        check_several_dimensions(self, config)


def check_several_dimensions(part: Part, config: Any) -> None:
    """Raise where z has one dimension, for a part whose dimensions depend on one another."""
    check(
        config.model.latent_dim > 1,
        f"Expected --latent-dim of at least 2 with --{part.kind} {part.name}, whose dimensions depend on one another; "
        "got 1.",
    )


_NORMAL, _FLOW = "pyro_vae.guides.normal", "pyro_vae.guides.flow"


class Diagonal(
    GuidePart, name="diagonal", target=f"{_NORMAL}:diagonal_guide", formula="N(loc(x), diag(scale(x)²))"
):
    """A normal with a variance for each dimension."""


class FullCovariance(
    GuidePart,
    name="full-covariance",
    target=f"{_NORMAL}:full_covariance_guide",
    formula="N(loc(x), L(x) L(x)ᵀ)",
):
    """A normal with all covariances."""


class LowRank(
    GuidePart, name="low-rank", target=f"{_NORMAL}:low_rank_guide", formula="N(loc(x), S (I + F(x) F(x)ᵀ) S)"
):
    """A normal with covariances of rank four beside the variances."""


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
    """The diagonal one, bent by an inverse autoregressive flow."""


class Spline(Autoregressive, name="spline", target=f"{_FLOW}:spline_guide", formula="z = loc + scale T(e)"):
    """The diagonal one, bent by an autoregressive spline flow."""
