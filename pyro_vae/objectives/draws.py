"""The results of one run of guide and model, per row and site, from which objectives are computed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import torch
from pyro.distributions.util import scale_and_mask
from torch import Tensor

from pyro_vae._checks import InputError
from pyro_vae.objectives.divergences import (
    Divergence,
    analytic_kl,
    by_factor,
    factors_of,
    is_discrete_code,
    sampled_kl,
)
from pyro_vae.objectives.sites import (
    Site,
    data_plate,
    density_log_prob,
    has_limits,
    reported_log_prob,
    sample_sites,
    training_log_prob,
    training_scale,
)

__all__ = ["Draws", "RowLogProbs"]


class RowLogProbs(NamedTuple):
    """Log-probabilities of each row at z ~ q(z | x), nats, each of shape (num_particles, N)."""

    likelihood: Tensor
    """log p(x | z), over all observed sites."""
    prior: Tensor
    """log p(z), over all latent sites of the model."""
    guide: Tensor
    """log q(z | x), over all sites of the guide."""
    score: Tensor
    """log q(z | x) over the guide's sites without reparameterized samples; 0 if there are none."""

    @property
    def log_weights(self) -> Tensor:
        """Log p(x, z) - log q(z | x), the logarithm of the importance weight."""
        return self.likelihood + self.prior - self.guide


@dataclass(frozen=True)
class Draws:
    """One run of guide and model on a batch, at the same z.

    Args:
        model: The model.
        guide: The guide.
        data: Arguments of both programs.
        samples: The guide's samples by site, shape ([num_particles, ...,] N, ...), with their gradients.
        guide_trace: Pyro's trace of the guide; its values are `samples`, or leaves with the same values.
        model_trace: Pyro's trace of the model at those values.
        num_particles: Samples of z for each row.
        particle_dim: The particle dimension of log-probabilities, from the right.
    """

    model: Callable[..., Any]
    guide: Callable[..., Any]
    data: tuple[Tensor, ...]
    samples: dict[str, Tensor]
    guide_trace: Any
    model_trace: Any
    num_particles: int
    particle_dim: int

    @cached_property
    def log_probs(self) -> RowLogProbs:
        """The log-probabilities of each row, summed over sites by kind, with the scales of `poutine.scale`."""
        return self._by_kind(training_log_prob)

    @cached_property
    def reported(self) -> RowLogProbs:
        """The log-probabilities without scales, in nats."""
        return self._by_kind(reported_log_prob) if self._has_scales else self.log_probs

    @property
    def _has_scales(self) -> bool:
        sites = (*self.model_sites, *self.guide_sites)
        return not all(isinstance(site["scale"], float) and site["scale"] == 1 for site in sites)

    @cached_property
    def densities(self) -> RowLogProbs:
        """The reported log-probabilities, minus infinity if an observed value is outside its distribution's support.

        Without this, a Bernoulli distribution returns a number for 0.3, and an exponential distribution for -1.
        """
        observed = [site for site in self.model_sites if site["is_observed"]]
        if not any(map(has_limits, observed)):
            return self.reported
        return self.reported._replace(likelihood=self._total(density_log_prob, observed))

    @cached_property
    def reported_kl(self) -> Tensor:
        """Log q(z | x) - log p(z) of each row, shape (num_particles, N), nats, without scales.

        For the library's discrete variables it is the exact KL(q(z | x) || p(z)), without noise.
        """
        first = self.guide_sites[0]
        if len(self.guide_sites) == 1 and is_discrete_code(first["fn"]) and not self._has_scales:
            return self.kl(analytic_kl)
        return self.reported.guide - self.reported.prior

    def _by_kind(self, log_prob: Callable[[Site], Tensor]) -> RowLogProbs:
        return RowLogProbs(
            likelihood=self._total(log_prob, (s for s in self.model_sites if s["is_observed"])),
            prior=self._total(log_prob, (s for s in self.model_sites if not s["is_observed"])),
            guide=self._total(log_prob, self.guide_sites),
            score=self._total(log_prob, (s for s in self.guide_sites if not s["fn"].has_rsample)),
        )

    def kl_groups(self, divergence: Divergence) -> Tensor:
        """Return each group's divergence of guide from prior, shape (num_particles, N, number of groups), nats.

        A group is one dimension of a site if its distributions in guide and model factorize over dimensions, else
        the whole site.
        """
        prior = {site["name"]: site for site in self.model_sites}
        for site in self.guide_sites:
            if site["name"] not in prior:
                raise InputError(
                    f"Expected each site of the guide in the model; the auxiliary site {site['name']!r} has no "
                    "divergence. Use ELBO without free bits, or a multi-sample bound."
                )
        groups = [self._site_groups(site, prior[site["name"]], divergence) for site in self.guide_sites]
        return torch.cat(groups, dim=-1)

    def kl(self, divergence: Divergence) -> Tensor:
        """Return the divergence of guide from prior of each row, shape (num_particles, N), nats."""
        if divergence is sampled_kl:
            return self.log_probs.guide - self.log_probs.prior
        return self.kl_groups(divergence).sum(-1)

    def _site_groups(
        self, guide_site: dict[str, Any], prior_site: dict[str, Any], divergence: Divergence
    ) -> Tensor:
        q, p, z = guide_site["fn"], prior_site["fn"], guide_site["value"]
        if divergence is analytic_kl and guide_site["name"] in self._before_their_parents:
            divergence = sampled_kl
        factors = factors_of(q), factors_of(p)
        # The same as for the guide's log-probability.
        scale, mask = training_scale(guide_site), guide_site["mask"]
        if None in factors:
            whole = scale_and_mask(divergence(q, p, z), scale, mask)
            return self.per_row(guide_site, whole).unsqueeze(-1)
        # Dimensions come first, so that scale and mask broadcast against the batch.
        dimensions = divergence(*factors, by_factor(q, z)).flatten(-q.event_dim).movedim(-1, 0)
        scaled = scale_and_mask(dimensions, scale, mask)
        return self.per_row(guide_site, scaled, scaled.ndim - 1).movedim(0, -1)

    @cached_property
    def _before_their_parents(self) -> set[str]:
        """Latent sites that the guide draws before a site on which they depend in the model.

        For these, KL(q || p(. | z)) is not their contribution to the divergence in expectation.
        """
        order = {site["name"]: number for number, site in enumerate(self.guide_sites)}
        latent = [site["name"] for site in self.model_sites if not site["is_observed"]]
        return {
            name
            for number, name in enumerate(latent)
            if any(order[other] > order[name] for other in latent[:number])
        }

    def _total(self, log_prob: Callable[[Site], Tensor], chosen: Iterable[Site]) -> Tensor:
        site = self.model_sites[0]
        zero = site["unscaled_log_prob"].new_zeros(())
        values = (self.per_row(site, log_prob(site)) for site in chosen)
        return sum(values, start=zero).expand(self.num_particles, data_plate(site).size)

    def per_row(self, site: dict[str, Any], log_prob: Tensor, batch_ndim: int | None = None) -> Tensor:
        """Sum a site's log-probability over all plates but the rows and the particles.

        Args:
            site: The site with these plates.
            log_prob: Shape (..., batch).
            batch_ndim: Number of batch dimensions, by default all; dimensions before the batch are kept.

        Returns:
            Shape (..., num_particles, N).
        """
        batch_ndim = log_prob.ndim if batch_ndim is None else batch_ndim
        kept = {data_plate(site).dim, self.particle_dim if self.num_particles > 1 else 0}
        others = [dim for dim in range(-batch_ndim, 0) if dim not in kept]
        rows = log_prob.sum(others) if others else log_prob
        lead = log_prob.shape[: log_prob.ndim - batch_ndim]
        own = rows.ndim - len(lead)
        rows = rows.reshape(*lead, *[1] * (2 - own), *rows.shape[len(lead) :])
        return rows.expand(*lead, self.num_particles, -1)

    def first(self, site: Site) -> Tensor:
        """Return the sample of the first row and particle at a site, repeated for all rows."""
        value, event_dim = self.samples[site["name"]], site["fn"].event_dim
        if self.num_particles > 1:
            value = value.select(self.particle_dim - event_dim, 0)
        row_dim = data_plate(site).dim - event_dim
        return value.narrow(row_dim, 0, 1).expand_as(value).contiguous()

    @cached_property
    def model_sites(self) -> list[Site]:
        """The model's sample sites."""
        return sample_sites(self.model_trace)

    @cached_property
    def guide_sites(self) -> list[Site]:
        """The guide's sample sites."""
        return sample_sites(self.guide_trace)
