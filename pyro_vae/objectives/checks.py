"""Checks of one run of model and guide: sites, plates, shapes and comparable distributions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from pyro_vae._checks import InputError, check
from pyro_vae.distributions.point import Reconstructed
from pyro_vae.objectives.sites import Site, data_plate, sample_sites
from pyro_vae.objectives.supports import family_name, is_point_mass, measure_of, rounds_its_samples

__all__ = [
    "check_has_density",
    "check_likelihood",
    "check_run",
    "check_same_sites",
    "rows_of",
]


def check_run(
    model_sites: Sequence[Site], guide_sites: Sequence[Site], num_rows: int | None, bound: bool = True
) -> None:
    """Raise unless the sites' log-probabilities belong to the given rows and are comparable.

    Args:
        model_sites: Sample sites of the model, scored.
        guide_sites: Sample sites of the guide, scored.
        num_rows: Number of rows given to the programs, or None if they take none.
        bound: Whether they define a bound on log p(x); otherwise the guide must be a point mass.

    Raises:
        InputError: If not; names the site or the plate.
    """
    for site in (*guide_sites, *model_sites):
        _check_plates(site, num_rows)
    if bound:
        _check_densities(model_sites, guide_sites)
    else:
        _check_points(model_sites, guide_sites)
    for site in (*guide_sites, *model_sites):
        _check_shapes(site)


def check_has_density(distribution: Any, what: str) -> None:
    """Raise if a distribution is a point mass.

    Args:
        distribution: The distribution.
        what: Its name in messages.

    Raises:
        InputError: If it is a point mass.
    """
    check(
        not is_point_mass(distribution),
        f"Expected {what} to have a density; {family_name(distribution)} is a point mass, so there is no log p(x), "
        "ELBO or importance weight. Take a guide with a density, such as DiagonalNormalGuide; an autoencoder is "
        "trained and measured by its error (`objective=Reconstruction()`, ReconstructionError).",
    )


def check_likelihood(model_sites: Sequence[Site]) -> None:
    """Raise if the model is an autoencoder, whose observed site has no noise.

    Raises:
        InputError: If so; names the site.
    """
    for site in model_sites:
        if isinstance(site["fn"], Reconstructed):
            check_has_density(site["fn"], f"the model's observed site {site['name']!r}")


def _check_densities(model_sites: Sequence[Site], guide_sites: Sequence[Site]) -> None:
    """Raise if log p(x | z), or log q(z) - log p(z), is not defined."""
    prior = {site["name"]: site for site in model_sites}
    for site in (*guide_sites, *model_sites):
        check(
            not rounds_its_samples(site["fn"]),
            f"Expected a distribution that scores its own samples at the site {site['name']!r}; "
            f"{family_name(site['fn'])} rounds its samples to codes and scores the unrounded values, so its density "
            "at a code is not defined. Use a discrete distribution, such as OneHotCategorical or Bernoulli, in guide "
            "and model, and the objective StraightThrough.",
        )
    auxiliary = any(site["infer"].get("is_auxiliary") for site in guide_sites)
    for site in guide_sites:
        if site["name"] in prior:
            _check_comparable(site, prior[site["name"]], auxiliary)
    check_likelihood(model_sites)


def _check_points(model_sites: Sequence[Site], guide_sites: Sequence[Site]) -> None:
    """Raise unless the guide is a point mass and the model has an observed site."""
    for site in guide_sites:
        check(
            is_point_mass(site["fn"]),
            f"Expected a point guide with the objective Reconstruction; at the site {site['name']!r} the guide has "
            f"{family_name(site['fn'])}. Take PointGuide (a Delta at each site), or another objective, such as ELBO.",
        )
    check(
        any(site["is_observed"] for site in model_sites),
        "Expected a model with an observed site to reconstruct; it has none. Give `obs=x`.",
    )


def check_same_sites(model_trace: Any, guide_trace: Any) -> None:
    """Raise unless the guide samples the model's latent sites; auxiliary sites are allowed.

    Raises:
        InputError: If not; names the sites of both.
    """
    sites = sample_sites(model_trace)
    latent = {site["name"] for site in sites if not site["is_observed"]}
    guided = {site["name"] for site in sample_sites(guide_trace) if not site["infer"].get("is_auxiliary")}
    if latent != guided:
        raise InputError(
            f"Expected the guide to sample the model's latent sites {sorted(latent)}; it samples "
            f"{sorted(guided)}. Give the sites of the guide the names of the model's."
        )
    check(bool(sites), "Expected a model with sample sites; it has none. Call `pyro.sample` in it.")


def _check_plates(site: Site, num_rows: int | None) -> None:
    plate = data_plate(site)
    check(
        num_rows is None or plate.size == num_rows,
        f"Expected the plate 'data' of size {num_rows}, the number of rows; got {plate.size}. "
        "Write it as `pyro.plate('data', len(x))`, without `subsample_size`.",
    )
    for other in site["cond_indep_stack"]:
        check(
            other.name == "data" or other.full_size in (None, other.size),
            f"Expected every plate other than 'data' without subsampling; {other.name!r} at the site {site['name']!r} "
            f"uses {other.size} of {other.full_size} indices, whose log-probability is not that of the row. Leave out "
            "`subsample_size`.",
        )


def _check_shapes(site: Site) -> None:
    """Raise if a batch dimension belongs to no plate, or values and distribution would broadcast."""
    fn, value, name = site["fn"], site["value"], site["name"]
    sizes = {plate.dim: plate.size for plate in site["cond_indep_stack"]}
    free = _free_dim(fn.batch_shape, sizes)
    check(
        free is None,
        f"Expected batch dimensions of the site {name!r} to belong to plates; its distribution has batch shape "
        f"{tuple(fn.batch_shape)}, and no plate of that size is at dimension {free}. Declare dimensions of one row by "
        "`.to_event(...)`, and give each row one index of the batch.",
    )
    row_dim = data_plate(site).dim
    batch, event = value.shape[: value.ndim - fn.event_dim], value.shape[value.ndim - fn.event_dim :]
    check(
        len(batch) >= -row_dim
        and batch[row_dim] == sizes[row_dim]
        and math.prod(event) == math.prod(fn.event_shape)
        and _free_dim(site["unscaled_log_prob"].shape, sizes) is None,
        f"Expected one value per row at the site {name!r}, of batch shape {tuple(fn.batch_shape)} and event shape "
        f"{tuple(fn.event_shape)}; got values of shape {tuple(value.shape)}. Give values and distribution the same "
        "shape.",
    )


def _free_dim(shape: Sequence[int], sizes: dict[int, int]) -> int | None:
    """Return the first dimension, from the right, whose size matches no plate at that dimension."""
    return next(
        (dim for dim in range(-1, -len(shape) - 1, -1) if shape[dim] not in (1, sizes.get(dim))), None
    )


def _check_comparable(guide_site: Site, prior_site: Site, auxiliary: bool) -> None:
    """Raise if log q(z) - log p(z) is not defined."""
    name, q, p = guide_site["name"], guide_site["fn"], prior_site["fn"]
    check(
        q.event_shape == p.event_shape,
        f"Expected equal event shapes at the site {name!r}; the guide has {tuple(q.event_shape)} and the model "
        f"{tuple(p.event_shape)}. Give both the same number of dimensions and the same `.to_event(...)`.",
    )
    measures = measure_of(q), measure_of(p)
    if measures[0] == "a point mass" and auxiliary:
        return  # Pyro's autoguides sample an auxiliary site; this site is a function of it
    if measures[0] == measures[1] or (None in measures and "a point mass" not in measures):
        return
    advice = (
        "A point has no density, so there is neither an ELBO nor an importance weight; take a guide with a density, "
        "such as Normal, or train an autoencoder by its error (`objective=Reconstruction()`)."
        if "a point mass" in measures
        else "Their log-probabilities are not comparable; use a guide of the prior's kind, such as the same family."
    )
    raise InputError(
        f"Expected guide and model to have comparable distributions at the site {name!r}; the guide's {family_name(q)} "
        f"has {measures[0]} and the model's {family_name(p)} {measures[1] or 'an unknown one'}. {advice}"
    )


def rows_of(data: Sequence[Tensor]) -> int | None:
    """Return the number of rows in `data`, or None without data."""
    return len(data[0]) if data else None
