"""Checks of the supports of guide and prior, as bounds, importance sampling and annealing need them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pyro_vae._checks import InputError, check
from pyro_vae.objectives.sites import Site
from pyro_vae.objectives.supports import contains, family_name, support_of

__all__ = ["check_bound_exists", "check_covers_prior", "check_same_supports"]


def check_bound_exists(model_sites: Sequence[Site], guide_sites: Sequence[Site]) -> None:
    """Raise if the guide samples outside the prior's support, where the ELBO is minus infinity.

    Raises:
        InputError: If so; names the site and both distributions.
    """
    for name, q, p in _pairs(model_sites, guide_sites):
        outer, inner = support_of(p), support_of(q)
        if outer is not None and inner is not None and contains(outer, inner) is False:
            raise InputError(
                f"Expected the guide to sample {name!r} within the support of the model's {family_name(p)}, {outer}; "
                f"{family_name(q)} has the support {inner}, so the ELBO is minus infinity. Take a guide with the "
                "model's support, such as LogNormal for positive values; importance sampling (`log_likelihood`) gives "
                "such samples weight zero."
            )


def check_covers_prior(model_sites: Sequence[Site], guide_sites: Sequence[Site]) -> None:
    """Raise if the guide does not cover the prior's support, so that importance sampling misses a part of p(x).

    If that cannot be decided from the supports, draws of the prior are tested.

    Raises:
        InputError: If so; names the site and both distributions.
    """
    for name, q, p in _pairs(model_sites, guide_sites):
        outer, inner = support_of(q), support_of(p)
        if outer is None or inner is None:
            continue
        covers = contains(outer, inner)
        if covers is None:
            covers = bool(q.support.check(p.sample()).all())
        check(
            covers,
            f"Expected a guide that covers the support of {name!r} under the model's {family_name(p)}, {inner}; the "
            f"guide's {family_name(q)} has the support {outer}, so importance sampling would miss a part of p(x). Take "
            "a guide with the model's support, or DefensiveGuide; the ELBO (`estimate_elbo`) is still a bound.",
        )


def check_same_supports(model_sites: Sequence[Site], guide_sites: Sequence[Site]) -> None:
    """Raise if draws of the guide are not valid starting points in the prior's support.

    Raises:
        InputError: If so; names the site and both distributions.
    """
    for name, q, p in _pairs(model_sites, guide_sites):
        own, prior = support_of(q), support_of(p)
        if own is not None and prior is not None:
            check(
                contains(prior, own) is not False and contains(own, prior) is not False,
                f"Expected a guide whose samples of {name!r} have the support of the model's {family_name(p)}, "
                f"{prior}; the guide's {family_name(q)} has {own}. Take a guide with that support, or anneal from the "
                "prior (`Annealing(start='prior')`).",
            )


def _pairs(model_sites: Sequence[Site], guide_sites: Sequence[Site]) -> list[tuple[str, Any, Any]]:
    """Return name, and distributions of guide and model, for each latent site."""
    guided = {site["name"]: site["fn"] for site in guide_sites}
    return [(s["name"], guided[s["name"]], s["fn"]) for s in model_sites if s["name"] in guided]
