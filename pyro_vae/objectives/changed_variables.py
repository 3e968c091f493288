"""A check of guides whose latent sites are functions of auxiliary sites: the density of the change of variables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from pyro import poutine
from torch import Tensor

from pyro_vae._checks import check
from pyro_vae._programs import local_parameters
from pyro_vae.objectives.sites import AtValues, Site, sample_sites, score
from pyro_vae.objectives.supports import is_point_mass

__all__ = ["check_changed_variables"]

TOLERANCE = 1e-3
"""Tolerance of log-densities, relative to 1 + their size, given float32 Jacobians."""


def check_changed_variables(guide: Callable[..., Any], *data: Tensor) -> None:
    """Raise if a guide has points at latent sites whose density is not that of a change of variables.

    For u ~ q(u | x) at auxiliary sites and a point at z = f(u), log q(z | x) is `log q(u | x) - log |det df/du|`: the
    `log_density` of the points must sum to minus that logarithm (as in Pyro's autoguides). A guide without auxiliary
    sites, or without points, passes. Costs two runs.

    Args:
        guide: A Pyro program.
        data: Arguments of the program, rows first.

    Raises:
        InputError: If f is not invertible, or the log-densities have another sum.
    """
    with torch.random.fork_rng(), torch.enable_grad(), torch.inference_mode(False), local_parameters():
        drawn, points = _auxiliary_and_points(guide, data)
        if not drawn or not points:
            return
        leaves = {site["name"]: site["value"].detach().clone().requires_grad_() for site in drawn}
        drawn, points = _auxiliary_and_points(AtValues(leaves)(guide), data)
        jacobian = _jacobian(points, drawn)
        log_density = sum(float(site["unscaled_log_prob"].flatten()[0]) for site in points)
    names = [site["name"] for site in points]
    log_det = (
        float(torch.linalg.slogdet(jacobian.double())[1]) if len(set(jacobian.shape)) == 1 else -torch.inf
    )
    check(
        log_det > -torch.inf,
        f"Expected the points at {names} to be an invertible function of the auxiliary sites {list(leaves)}, so that "
        "they have a density; they are not. Take a guide with a density at each site, such as Normal.",
    )
    check(
        abs(log_density + log_det) <= TOLERANCE * (1 + abs(log_det)),
        f"Expected log_density of the Delta at {names} to be minus log |det dz/du| = {-log_det:.4g}, u being the "
        f"auxiliary sites {list(leaves)}; got {log_density:.4g}. Give it as `Delta(z, log_density=...)`.",
    )


def _auxiliary_and_points(
    guide: Callable[..., Any], data: tuple[Tensor, ...]
) -> tuple[list[Site], list[Site]]:
    """Return the guide's auxiliary sites, and the others that are points, scored."""
    auxiliary: list[Site] = []
    points: list[Site] = []
    for site in sample_sites(poutine.trace(guide).get_trace(*data)):
        if site["infer"].get("is_auxiliary"):
            auxiliary.append(site)
        elif is_point_mass(site["fn"]):
            score(site)
            points.append(site)
    return auxiliary, points


def _of_first_row(values: Tensor, site: Site) -> Tensor:
    """Return the entries of the first row, flattened."""
    return values.select(-1 - site["fn"].event_dim, 0).flatten()


def _jacobian(points: list[Site], auxiliary: list[Site]) -> Tensor:
    """Return dz/du of the first row, shape (size of its z, size of its u)."""
    leaves = [site["value"] for site in auxiliary]
    z = torch.cat([_of_first_row(site["value"], site) for site in points])
    rows = []
    for entry in z:
        gradients: list[Tensor | None] = [None] * len(leaves)
        if entry.requires_grad:
            gradients = list(torch.autograd.grad(entry, leaves, retain_graph=True, allow_unused=True))
        known = (
            torch.zeros_like(leaf) if gradient is None else gradient
            for leaf, gradient in zip(leaves, gradients, strict=True)
        )
        rows.append(
            torch.cat(
                [_of_first_row(gradient, site) for gradient, site in zip(known, auxiliary, strict=True)]
            )
        )
    return torch.stack(rows)
