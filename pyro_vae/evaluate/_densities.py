"""Model and guide as densities of each row over one unconstrained vector.

Hamiltonian Monte Carlo and Gaussian families want a latent without bounds and with one name; programs have
sites, with supports. Here the sites of a row are packed into one vector and back.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import Any, NamedTuple

import pyro
import torch
from pyro import poutine
from torch import Tensor
from torch.distributions import Distribution, Transform, biject_to
from torch.distributions.constraints import MixtureSameFamilyConstraint

from pyro_vae._checks import InputError, check
from pyro_vae._programs import local_parameters
from pyro_vae.objectives.checks import check_same_supports
from pyro_vae.objectives.sites import WithoutScales, data_plate, data_site, sample_sites

__all__ = ["Densities", "rows_last", "simulate_rows", "vectorized_trace"]


class _Site(NamedTuple):
    """One latent site of the model, for a single row."""

    name: str
    transform: Transform  # from an unconstrained value to the site's support
    shape: torch.Size  # of the unconstrained value


class Densities:
    """log p(x, z), log p(z) and log q(z | x) of each row as functions of its unconstrained latents u.

    u has shape (num_samples, N, size): all latent sites of the model, each mapped onto the real line (Stan's and
    Pyro's transforms), flattened and joined. Each density includes log |dz/du|, so ratios are those over z.

    Args:
        model: A Pyro program with all its sites in the plate `"data"`.
        guide: A Pyro program with the model's latent sites.
        data: What both are called with, rows first.
        max_plate_nesting: How deep plates are nested in the programs.

    Raises:
        InputError: If a latent site is discrete, or stands in another plate than `"data"`.
    """

    def __init__(
        self,
        model: Callable[..., Any],
        guide: Callable[..., Any],
        data: tuple[Tensor, ...],
        max_plate_nesting: int = 1,
    ) -> None:
        self.model, self.guide, self.data = model, guide, data
        self.max_plate_nesting = max_plate_nesting
        sites = sample_sites(self._trace(model, 1))
        self._latent = [site for site in sites if not site["is_observed"]]
        self.sites = [_described(site) for site in self._latent]
        check(bool(self.sites), "Expected a model with latent sites; all of its sites are observed.")
        self._guide_site = self._only_guide_site()

    @property
    def names(self) -> list[str]:
        """Names of the latent sites, in the model's order."""
        return [site.name for site in self.sites]

    def unpack(self, u: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Return the sites' values, each (num_samples, N, *event), and log |dz/du|, shape (num_samples, N)."""
        values, log_jacobian = {}, u.new_zeros(u.shape[:-1])
        parts = u.split([site.shape.numel() for site in self.sites], dim=-1)
        for site, part in zip(self.sites, parts, strict=True):
            free = part.reshape(*u.shape[:-1], *site.shape)
            values[site.name] = site.transform(free)
            change = site.transform.log_abs_det_jacobian(free, values[site.name])
            log_jacobian = log_jacobian + change.reshape(*u.shape[:-1], -1).sum(-1)
        return values, log_jacobian

    def pack(self, values: dict[str, Tensor]) -> Tensor:
        """Return u, shape (num_samples, N, size), from the sites' values."""
        free = (site.transform.inv(values[site.name]) for site in self.sites)
        return torch.cat(
            [part.flatten(part.ndim - len(site.shape)) if site.shape else part.unsqueeze(-1)
             for site, part in zip(self.sites, free, strict=True)], dim=-1,
        )  # fmt: skip

    def from_guide(self, num_samples: int) -> Tensor:
        """Draw u from q(z | x), shape (num_samples, N, size), detached."""
        with torch.no_grad():
            return self._draw(self.guide, num_samples)

    def along_guide(self, num_samples: int) -> Tensor:
        """Draw u from q(z | x), shape (num_samples, N, size), with gradients."""
        return self._draw(self.guide, num_samples)

    def from_prior(self, num_samples: int) -> Tensor:
        """Draw u from p(z), shape (num_samples, N, size), detached."""
        with torch.no_grad():
            return self._draw(self.model, num_samples)

    def log_joint(self, u: Tensor) -> Tensor:
        """Return log p(x, z) of each row, shape (num_samples, N), nats."""
        return sum(self.log_likelihood_and_prior(u), start=u.new_zeros(()))

    def log_likelihood_and_prior(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Return log p(x | z) and log p(z), each (num_samples, N), nats."""
        values, log_jacobian = self.unpack(u)
        trace = self._trace(self.model, len(u), values)
        observed = {site["name"] for site in sample_sites(trace)} - set(self.names)
        return self._total(trace, observed), self._total(trace, self.names) + log_jacobian

    def log_guide(self, u: Tensor) -> Tensor:
        """Return log q(z | x) of each row, shape (num_samples, N), nats."""
        if self._guide_site is None:
            return self.log_guide_run(u)
        # Its distribution depends on x alone: no need to run the guide's network at each z.
        values, log_jacobian = self.unpack(u)
        return self._guide_site.log_prob(values[self.names[0]]) + log_jacobian

    def log_guide_run(self, u: Tensor) -> Tensor:
        """Return the same from a run of the guide at u."""
        values, log_jacobian = self.unpack(u)
        return self._total(self._trace(self.guide, len(u), values), self.names) + log_jacobian

    def _draw(self, program: Callable[..., Any], num_samples: int) -> Tensor:
        trace = self._trace(program, num_samples)
        check(
            set(self.names) <= set(trace.nodes),
            f"Expected the guide to sample the model's latent sites {self.names}; it samples "
            f"{[site['name'] for site in sample_sites(trace)]}. Give its sites the names of the model's.",
        )
        if program is self.guide:
            check_same_supports(self._latent, sample_sites(trace))
        return self.pack({name: rows_last(trace.nodes[name]) for name in self.names})

    def _trace(
        self, program: Callable[..., Any], num_samples: int, values: dict[str, Tensor] | None = None
    ) -> Any:
        return vectorized_trace(program, self.data, num_samples, self.max_plate_nesting, values)

    def _total(self, trace: Any, names: Collection[str]) -> Tensor:
        """Sum log-probabilities over the named sites and all plates but samples and rows."""
        trace.compute_log_prob(lambda name, _: name in names)
        log_probs = (trace.nodes[name]["log_prob"] for name in trace.nodes if name in names)
        rows = (lp.reshape(lp.shape[0], -1, lp.shape[-1]).sum(1) for lp in log_probs)
        return sum(rows, start=self.data[0].new_zeros(()))

    def _only_guide_site(self) -> Distribution | None:
        with torch.no_grad():
            sites = sample_sites(self._trace(self.guide, 1))
        if len(sites) != 1 or len(self.sites) != 1 or sites[0]["mask"] is not None:
            return None
        return sites[0]["fn"]


def vectorized_trace(
    program: Callable[..., Any],
    data: tuple[Tensor, ...],
    num_samples: int,
    max_plate_nesting: int = 1,
    values: dict[str, Tensor] | None = None,
) -> Any:
    """Run a program for several values of its latents at once, without the scales of its sites.

    Args:
        program: A Pyro program.
        data: What it is called with.
        num_samples: How many values.
        max_plate_nesting: How deep plates are nested in the program.
        values: Of the sites that are not to be sampled, each (num_samples, N, *event).
    """
    if values is not None:
        nested = (1,) * (max_plate_nesting - 1)
        placed = {name: v.reshape(len(v), *nested, *v.shape[1:]) for name, v in values.items()}
        program = poutine.condition(program, data=placed)
    program = WithoutScales()(program)
    # Named by its dimension, so that one run can be made within another.
    plate = pyro.plate(f"_samples_{max_plate_nesting}", num_samples, dim=-max_plate_nesting - 1)
    with local_parameters(), plate:
        return poutine.trace(program).get_trace(*data)


def _described(site: dict[str, Any]) -> _Site:
    """Return what packing needs to know of a latent site drawn for one sample."""
    name, fn = site["name"], site["fn"]
    check(
        not fn.support.is_discrete,
        f"Expected continuous latents, which have gradients; the site {name!r} is discrete. "
        "Use importance sampling, or sum the site out.",
    )
    value = rows_last(site)
    # A mixture's support wraps that of its components, and only for theirs is a map known.
    mixed = isinstance(fn.support, MixtureSameFamilyConstraint)
    transform = biject_to(fn.support.base_constraint if mixed else fn.support)
    return _Site(name, transform, transform.inv(value).shape[2:])


def rows_last(site: dict[str, Any]) -> Tensor:
    """Return a site's value, shape (num_samples, N, *event), or raise where it stands in a further plate."""
    value: Tensor = site["value"]
    batch = value.shape[: value.ndim - site["fn"].event_dim]
    check(
        data_plate(site).dim == -1,
        f"Expected the plate 'data' at dimension -1, the last of a batch, to run the site {site['name']!r} on many "
        f"samples; it is at {data_plate(site).dim}. Write `pyro.plate('data', len(x), dim=-1)`, and place plates "
        "inside it further left.",
    )
    check(
        math.prod(batch[1:-1]) == 1,
        f"Expected the latent site {site['name']!r} in the plate 'data' alone; its batch shape for one row is "
        f"{tuple(batch[1:-1])}. Declare those dimensions as part of the event: `.to_event(...)`.",
    )
    return value.reshape(batch[0], batch[-1], *value.shape[len(batch) :])


def simulate_rows(
    model: Callable[..., Any], data: tuple[Tensor, ...], max_plate_nesting: int = 1
) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
    """Draw z from p(z) and x from p(x | z), where `data` says how many rows and which labels.

    Args:
        model: A Pyro program with one observed site, which observes its first argument.
        data: What the model is called with; the values of the first are not used.
        max_plate_nesting: How deep plates are nested in the program.

    Returns:
        The data with the rows replaced, and the values of the latent sites behind them, (1, N, *event).

    Raises:
        InputError: If the model observes several sites, or something of another shape than the rows.
    """
    with torch.no_grad():
        trace = vectorized_trace(poutine.uncondition(model), data, 1, max_plate_nesting)
    try:
        observed = data_site(trace, data[0])
    except InputError as error:
        raise InputError(f"{error} Or simulate none (`num_simulated=0`).") from None
    latents = {site["name"]: rows_last(site) for site in sample_sites(trace) if site is not observed}
    x = observed["value"].reshape(data[0].shape).to(data[0].dtype)
    return (x, *data[1:]), latents
