"""Maps of latent sites onto the real line, which do not depend on other sites."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.distributions import Distribution, Transform, biject_to
from torch.distributions.constraints import MixtureSameFamilyConstraint

from pyro_vae._checks import check
from pyro_vae.evaluate._many_samples import rows_last, vectorized_trace
from pyro_vae.objectives.checks import check_likelihood
from pyro_vae.objectives.sites import Site, sample_sites
from pyro_vae.objectives.supports import support_of

__all__ = ["UnboundedSite", "described", "unbounded_sites"]


class UnboundedSite(NamedTuple):
    """One latent site of the model, for a single row."""

    name: str
    transform: Transform  # from an unconstrained value to the site's support
    shape: torch.Size  # of the unconstrained value


def unbounded_sites(
    model: Callable[..., Any], data: tuple[Tensor, ...], max_plate_nesting: int = 1
) -> list[Site]:
    """Return the model's latent sites, drawn once, each of which has a fixed map onto the real line.

    Arguments as for `Densities`.

    Raises:
        InputError: If there are no latent sites, one is discrete, or the support of one depends on the value of
            another.
    """
    sites = _latent_sites(model, data, max_plate_nesting)
    check(bool(sites), "Expected a model with latent sites; all of its sites are observed.")
    for site in sites:
        check(
            not site["fn"].support.is_discrete,
            f"Expected continuous latents, which have gradients; the site {site['name']!r} is discrete. "
            "Use importance sampling, or sum the site out.",
        )
    if len(sites) > 1 and any(isinstance(v, Tensor) for s in sites for v in _bounds(s["fn"])):
        devices = sorted({values.device.index or 0 for values in data if values.is_cuda})
        with torch.random.fork_rng(devices=devices):
            again = _latent_sites(model, data, max_plate_nesting)
        for first, second in zip(sites, again, strict=True):
            _check_same_map(first, second)
    return sites


def _latent_sites(model: Callable[..., Any], data: tuple[Tensor, ...], max_plate_nesting: int) -> list[Site]:
    sites = sample_sites(vectorized_trace(model, data, 1, max_plate_nesting))
    check_likelihood(sites)
    return [site for site in sites if not site["is_observed"]]


def _bounds(distribution: Distribution) -> list[Any]:
    support = support_of(distribution)
    return [] if support is None else list(vars(support).values())


def _check_same_map(first: Site, second: Site) -> None:
    """Raise if two draws of a site have different supports."""
    maps = _onto_support(first["fn"]), _onto_support(second["fn"])
    origin = torch.zeros_like(maps[0].inv(first["value"]))
    check(
        torch.equal(maps[0](origin), maps[1](origin)),
        f"Expected latents whose supports do not depend on other latents; that of {first['name']!r} does. Sample a "
        "variable with a fixed support and transform it in the program, such as `scale * unit`.",
    )


def _onto_support(distribution: Distribution) -> Transform:
    support: Any = distribution.support
    # The support of a mixture wraps that of its components, which alone `biject_to` supports.
    mixed = isinstance(support, MixtureSameFamilyConstraint)
    return biject_to(support.base_constraint if mixed else support)


def described(site: Site) -> UnboundedSite:
    """Return name, transform and unconstrained shape of a latent site drawn for one sample."""
    transform = _onto_support(site["fn"])
    return UnboundedSite(site["name"], transform, transform.inv(rows_last(site)).shape[2:])
