"""Draws of the latents of all rows from the guide, by site, and their densities under the posteriors of all rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.distributions import Distribution

from pyro_vae._checks import check
from pyro_vae.evaluate._many_samples import vectorized_trace
from pyro_vae.evaluate.latent_moments import as_columns, kl_per_dimension, mean_columns
from pyro_vae.evaluate.mixtures import SiteOfMixture
from pyro_vae.objectives.draws import Draws
from pyro_vae.objectives.independence import check_programs
from pyro_vae.objectives.rows import draw
from pyro_vae.objectives.sites import Site

__all__ = ["LatentDraws", "SiteDraws", "draw_latents"]

CHUNK = 4_000_000  # maximum entries of one block of the table of log q(z_n | x_m), times the size of z
PAIRS = 20_000  # maximum pairs of z_n and x_m in one run of the guide


class SiteDraws(NamedTuple):
    """One latent site of N rows, drawn K times; nats, float64. Its parents are the sites that it depends on."""

    name: str
    log_q: Tensor
    """log q(z | parents, x), shape (K, N)."""
    log_p: Tensor
    """log p(z | parents), shape (K, N)."""
    means: Tensor
    """E[z | parents, x], or z if that is unknown: shape (K, N, size, width), with K = 1 if all draws have the same.

    The width is 1, except for categorical dimensions, which have the probabilities of their categories.
    """
    kl_per_dimension: Tensor | None
    """KL(q || p) given the parents, mean over draws and rows, shape (size,); None without a closed form."""


class LatentDraws(NamedTuple):
    """All latent sites of N rows, drawn K times."""

    sites: list[SiteDraws]
    """In the guide's order."""
    table: Callable[[int, slice], Tensor]
    """Function of draw k and a slice of rows n: log q(z_n | x_m), shape (rows in the slice, N), float64."""
    block_rows: int
    """Number of rows in a block of the table."""
    one_prior: bool = True
    """Whether p(z) is the same for all rows, that is, independent of context."""

    @property
    def log_q(self) -> Tensor:
        """Log q(z | x) of all sites together, shape (K, N), float64."""
        return sum((site.log_q for site in self.sites[1:]), start=self.sites[0].log_q)

    @property
    def log_p(self) -> Tensor:
        """Log p(z) of all sites together, shape (K, N), float64."""
        return sum((site.log_p for site in self.sites[1:]), start=self.sites[0].log_p)


def draw_latents(
    model: Callable[..., Any], guide: Callable[..., Any], data: tuple[Tensor, ...], num_samples: int
) -> LatentDraws:
    """Draw the latents of each row from the guide.

    With one site, q(z | x) depends on x alone, and the table needs no further run of the guide. With several sites, the
    guide runs once for each entry of the table, at the drawn values.

    Args:
        model: A Pyro program with all its sites in the plate `"data"`.
        guide: A Pyro program with the model's latent sites and no others.
        data: Arguments of both programs, rows first.
        num_samples: Draws per row, K.

    Raises:
        InputError: If the guide's sites are not the model's, or one has a mask or is in another plate.
    """
    probe = draw(model, guide, *data)
    latent = _paired(probe, len(data[0]))
    if len(latent) == 1:
        draws = _of_one_site(*latent[0], num_samples)
    else:
        check_programs(model, guide, *data)
        closed = _closed_forms(probe, draw(model, guide, *data))
        draws = _of_several(model, guide, data, num_samples, closed)
    return draws._replace(one_prior=len(data) == 1 or _has_one_prior(probe))


def _paired(draws: Draws, num_rows: int) -> list[tuple[Site, Site]]:
    """Return each latent site as it is in the guide and in the model, in the guide's order."""
    prior = {site["name"]: site for site in draws.model_sites if not site["is_observed"]}
    guided = [site["name"] for site in draws.guide_sites]
    check(
        set(prior) == set(guided) and bool(prior),
        "Expected a guide with the model's latent sites and no others, so that log q(z | x) is known; the model has "
        f"{sorted(prior)} and the guide {sorted(guided)}.",
    )
    check(
        not any(isinstance(site["fn"], SiteOfMixture) for site in draws.guide_sites),
        "Expected a guide with a density at each site; JointDefensiveGuide has one of all sites together. Give "
        "the guide that it was made from.",
    )
    for site in draws.guide_sites:
        shape = tuple(site["fn"].batch_shape)
        check(
            shape == (num_rows,) and (site["mask"] is None or site["mask"] is True),
            f"Expected the latent site {site['name']!r} in the plate 'data' alone, without a mask; it has batch shape "
            f"{shape}. Declare dimensions of one row by `.to_event(...)`.",
        )
    return [(site, prior[site["name"]]) for site in draws.guide_sites]


def _has_one_prior(probe: Draws) -> bool:
    """Return whether log p(z) of the first row's z is equal for all rows, within 1e-3 nats or 0.1 %."""
    same = {site["name"]: probe.first(site) for site in probe.guide_sites}
    log_p = draw(probe.model, probe.guide, *probe.data, values=same).reported.prior[0]
    return torch.allclose(log_p, log_p[0], rtol=1e-3, atol=1e-3)


def _of_one_site(guide_site: Site, prior_site: Site, num_samples: int) -> LatentDraws:
    q, p = guide_site["fn"], prior_site["fn"]
    z = q.sample((num_samples,))
    # Before the moments, since flows cache only their last draw.
    log_q, log_p = q.log_prob(z).double(), p.log_prob(z).double()
    means, kl = mean_columns(q), kl_per_dimension(q, p)
    site = SiteDraws(
        guide_site["name"],
        log_q,
        log_p,
        as_columns(z, q.event_dim) if means is None else means.unsqueeze(0),
        None if kl is None else kl.mean(0),
    )

    def table(number: int, rows: slice) -> Tensor:
        return q.log_prob(z[number, rows].unsqueeze(1)).double()

    return LatentDraws([site], table, max(1, CHUNK // (z[0].numel() or 1)))


def _of_several(
    model: Callable[..., Any],
    guide: Callable[..., Any],
    data: tuple[Tensor, ...],
    num_samples: int,
    closed: set[str],
) -> LatentDraws:
    """Run both programs once per draw, so that memory is that of one run; `closed` is from `_closed_forms`."""
    values: dict[str, list[Tensor]] = {}
    columns: dict[str, list[tuple[Tensor, Tensor, Tensor, Tensor | None]]] = {}
    for _ in range(num_samples):
        for own, prior in _paired(draw(model, guide, *data), len(data[0])):
            name, q, z = own["name"], own["fn"], own["value"]
            means = mean_columns(q)
            kl = kl_per_dimension(q, prior["fn"]) if name in closed else None
            values.setdefault(name, []).append(z)
            columns.setdefault(name, []).append(
                (
                    own["unscaled_log_prob"].double(),
                    prior["unscaled_log_prob"].double(),
                    as_columns(z.unsqueeze(0), q.event_dim)[0] if means is None else means,
                    None if kl is None else kl.mean(0),
                )
            )
    drawn = {name: torch.stack(parts) for name, parts in values.items()}
    sites = [_joined(name, draws) for name, draws in columns.items()]

    def table(number: int, rows: slice) -> Tensor:
        at = {name: z[number, rows].unsqueeze(1).expand(-1, *z.shape[1:]) for name, z in drawn.items()}
        trace = vectorized_trace(guide, data, len(next(iter(at.values()))), values=at)
        trace.compute_log_prob(lambda name, _: name in at)
        return sum((trace.nodes[name]["log_prob"].double() for name in at), start=torch.zeros(()))

    return LatentDraws(sites, table, max(1, PAIRS // len(data[0])))


def _joined(name: str, draws: list[tuple[Tensor, Tensor, Tensor, Tensor | None]]) -> SiteDraws:
    log_q, log_p, means, kl = zip(*draws, strict=True)
    known = [one for one in kl if one is not None]
    return SiteDraws(
        name,
        torch.stack(log_q),
        torch.stack(log_p),
        torch.stack(means),
        torch.stack(known).mean(0) if len(known) == len(kl) else None,
    )


def _closed_forms(first: Draws, second: Draws) -> set[str]:
    """Return the sites s for which the mean of `KL(q(z_s | parents, x) || p(z_s | parents))` is the site's part.

    That part is `E_q[log q(z_s | parents, x) - log p(z_s | parents)]`. It is a divergence given the parents unless the
    guide draws a parent of the model's z_s given z_s. Dependence is found from two draws: a distribution that gives one
    value the same log-probability in both depends on no site.
    """
    order = [site["name"] for site in first.guide_sites]
    q_fixed, p_fixed = (
        {a["name"] for a, b in zip(*sites, strict=True) if _same(a["fn"], b["fn"], a["value"])}
        for sites in ((first.guide_sites, second.guide_sites), (first.model_sites, second.model_sites))
    )
    before, found = set[str](), set[str]()
    for name in (site["name"] for site in first.model_sites if not site["is_observed"]):
        later = before - set(order[: order.index(name)])
        if name in p_fixed or later <= q_fixed:
            found.add(name)
        before.add(name)
    return found


def _same(first: Distribution, second: Distribution, value: Tensor) -> bool:
    return torch.equal(first.log_prob(value), second.log_prob(value))
