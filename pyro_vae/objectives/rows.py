"""One run of a guide and a model, kept per row and per site: what every objective is computed from."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import pyro
import torch
from pyro import poutine
from pyro.infer.autoguide import AutoGuide
from pyro.poutine.util import site_is_subsample
from torch import Tensor
from torch.distributions import (
    Independent,
    LowRankMultivariateNormal,
    MultivariateNormal,
    Normal,
    kl_divergence,
)

from pyro_vae._checks import InputError
from pyro_vae._programs import give_local_state

__all__ = ["Draws", "RowLogProbs", "analytic_kl", "draw", "row_log_probs", "sampled_kl"]

Divergence = Callable[[Any, Any, Tensor], Tensor]
"""Takes q, p and a sample of q; gives the divergence of q from p, of their batch shape."""


class RowLogProbs(NamedTuple):
    """Log-probabilities of each row at z ~ q(z | x), nats, each of shape (num_particles, N)."""

    likelihood: Tensor
    """log p(x | z), over all observed sites."""
    prior: Tensor
    """log p(z), over all latent sites of the model."""
    guide: Tensor
    """log q(z | x), over all sites of the guide."""
    score: Tensor
    """log q(z | x) over the guide's sites that have no reparameterised sample; 0 where all have one."""

    @property
    def log_weights(self) -> Tensor:
        """Log p(x, z) - log q(z | x), the logarithm of the importance weight."""
        return self.likelihood + self.prior - self.guide


def sampled_kl(q: Any, p: Any, z: Tensor) -> Tensor:
    """Return `log q(z) - log p(z)`, of the distributions' batch shape."""
    difference: Tensor = q.log_prob(z) - p.log_prob(z)
    return difference


def analytic_kl(q: Any, p: Any, z: Tensor) -> Tensor:
    """Return `KL(q || p)` where it has a closed form, and its sample `log q(z) - log p(z)` where not.

    Torch knows many pairs, but not that of a normal with covariances and one without.
    """
    factors = _factors(p)
    if isinstance(q, MultivariateNormal | LowRankMultivariateNormal) and isinstance(factors, Normal):
        # E_q log p: at the mean, less what the variances take off.
        expected = (factors.log_prob(q.mean) - q.variance / (2 * factors.variance)).sum(-1)
        return -q.entropy() - expected
    try:
        return kl_divergence(q, p)
    except NotImplementedError:
        return sampled_kl(q, p, z)


@dataclass(frozen=True)
class Draws:
    """One run of guide and model on a batch, at the same z.

    Args:
        model: The model.
        guide: The guide.
        data: What both were called with.
        samples: The guide's samples by site, shape ([num_particles, ...,] N, ...), with their gradients.
        guide_trace: Pyro's trace of the guide; its values are `samples`, or leaves in their place.
        model_trace: Pyro's trace of the model at those values.
        num_particles: Samples of z for each row.
        particle_dim: The dimension of a log-probability that they stand in, from the right.
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
        """The log-probabilities of each row, summed over sites by kind."""
        return RowLogProbs(
            likelihood=self._total(site for site in self._model_sites if site["is_observed"]),
            prior=self._total(site for site in self._model_sites if not site["is_observed"]),
            guide=self._total(self._guide_sites),
            score=self._total(site for site in self._guide_sites if not site["fn"].has_rsample),
        )

    def along_z(self, target: Tensor, scale: Tensor | None = None) -> Tensor:
        """Return a zero whose gradient is that of `target` through the guide's samples alone.

        Args:
            target: Scalar, computed from these draws, which must be cut.
            scale: What the gradient at each sample is multiplied by, shape (num_particles, N).

        Raises:
            InputError: If a site of the guide has no reparameterised sample.
        """
        zero = target.new_zeros(())
        if not torch.is_grad_enabled():
            return zero
        _check_reparameterised(self._guide_sites)
        slopes = torch.autograd.grad(target, [site["value"] for site in self._guide_sites], retain_graph=True)
        for site, slope in zip(self._guide_sites, slopes, strict=True):
            z = self.samples[site["name"]]
            factor = 1 if scale is None else self._at_site(site, scale)
            zero = zero + (factor * slope * (z - z.detach())).sum()
        return zero

    def kl_groups(self, divergence: Divergence) -> Tensor:
        """Return each group's divergence of guide from prior, shape (num_particles, N, number of groups), nats.

        A group is one dimension of a site whose distributions in guide and model both factorise over
        dimensions, and a whole site where they do not.
        """
        prior = {site["name"]: site for site in self._model_sites}
        for site in self._guide_sites:
            if site["name"] not in prior:
                raise InputError(
                    f"Expected each site of the guide in the model; the auxiliary site {site['name']!r} has no "
                    "divergence of its own. Take ELBO without free bits, or a multi-sample bound."
                )
        groups = [self._site_groups(site, prior[site["name"]], divergence) for site in self._guide_sites]
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
        factors = _factors(q), _factors(p)
        if None in factors:
            return self._per_row(guide_site, divergence(q, p, z)).unsqueeze(-1)
        dimensions = divergence(*factors, z).flatten(-q.event_dim).movedim(-1, 0)
        return torch.stack([self._per_row(guide_site, one) for one in dimensions], dim=-1)

    def _total(self, chosen: Iterable[dict[str, Any]]) -> Tensor:
        site = self._model_sites[0]
        zero = site["log_prob"].new_zeros(())
        values = (self._per_row(site, site["log_prob"]) for site in chosen)
        return sum(values, start=zero).expand(self.num_particles, _data_plate(site).size)

    def _per_row(self, site: dict[str, Any], log_prob: Tensor) -> Tensor:
        """Sum a site's log-probability over all plates but the rows and the particles."""
        kept = {_data_plate(site).dim, self.particle_dim if self.num_particles > 1 else 0}
        others = [dim for dim in range(-log_prob.ndim, 0) if dim not in kept]
        rows = log_prob.sum(others) if others else log_prob
        return rows.expand(self.num_particles, -1)

    def _at_site(self, site: dict[str, Any], rows: Tensor) -> Tensor:
        """Return values of shape (num_particles, N) in the shape that broadcasts against the site's samples."""
        shape = [1] * (site["fn"].event_dim - self.particle_dim)
        shape[0], shape[_data_plate(site).dim - site["fn"].event_dim] = rows.shape
        return rows.reshape(shape)

    @cached_property
    def _model_sites(self) -> list[dict[str, Any]]:
        return sample_sites(self.model_trace)

    @cached_property
    def _guide_sites(self) -> list[dict[str, Any]]:
        return sample_sites(self.guide_trace)


def draw(
    model: Callable[..., Any],
    guide: Callable[..., Any],
    *data: Tensor,
    num_particles: int = 1,
    max_plate_nesting: int = 1,
    cut: bool = False,
) -> Draws:
    """Run guide and model once.

    Args:
        model: A Pyro program with all its sites in the plate `"data"`.
        guide: A Pyro program with the model's latent sites.
        data: What both are called with: rows of shape (N, data_dim), and labels where they take them.
        num_particles: Samples of z for each row, drawn in one vectorized run.
        max_plate_nesting: How deep plates are nested in the programs, 1 where `"data"` is the only one.
        cut: Whether the log-probabilities are taken at leaves in place of the guide's samples, so that no
            gradient goes back from them into the guide through z.

    Raises:
        InputError: If a site stands outside the plate, or the guide's sites are not the model's.
    """
    particle_dim = -max_plate_nesting - 1
    for program in (model, guide):
        give_local_state(program)
    if isinstance(guide, AutoGuide):
        _check_same_rows(guide, *data)
    guide_trace = _run(guide, data, num_particles, particle_dim)
    samples = {site["name"]: site["value"] for site in sample_sites(guide_trace)}
    if cut:
        guide_trace = _cut(guide_trace, guide, data, num_particles, particle_dim)
    model_trace = _run(poutine.replay(model, trace=guide_trace), data, num_particles, particle_dim)
    _check_sites(model_trace, guide_trace)
    for trace in (guide_trace, model_trace):
        trace.compute_log_prob()
    return Draws(model, guide, data, samples, guide_trace, model_trace, num_particles, particle_dim)


def _cut(
    trace: Any, guide: Callable[..., Any], data: tuple[Tensor, ...], num_particles: int, particle_dim: int
) -> Any:
    """Return the guide's trace with leaves in place of its samples."""
    sites = sample_sites(trace)
    for site in sites:
        site["value"] = site["value"].detach().requires_grad_(site["value"].is_floating_point())
    if len(sites) == 1:
        return trace
    # The distribution of one site may depend on the sample of another: on its leaf, from here on.
    return _run(poutine.replay(guide, trace=trace), data, num_particles, particle_dim)


def row_log_probs(
    model: Callable[..., Any],
    guide: Callable[..., Any],
    *data: Tensor,
    num_particles: int = 1,
    max_plate_nesting: int = 1,
) -> RowLogProbs:
    """Run guide and model once and return the log-probabilities of each row; arguments as for `draw`."""
    return draw(
        model, guide, *data, num_particles=num_particles, max_plate_nesting=max_plate_nesting
    ).log_probs


def sample_sites(trace: Any) -> list[dict[str, Any]]:
    """Return a trace's sample sites, without those by which plates choose rows."""
    sites = trace.nodes.values()
    return [site for site in sites if site["type"] == "sample" and not site_is_subsample(site)]


def _run(program: Callable[..., Any], data: tuple[Tensor, ...], num_particles: int, particle_dim: int) -> Any:
    """Return the trace of a program under a plate of particles, where there are several."""
    if num_particles > 1:
        program = pyro.plate("num_particles", num_particles, dim=particle_dim)(program)
    return poutine.trace(program).get_trace(*data)


def _factors(distribution: Any) -> Any:
    """Return the distribution of single dimensions where it factorises over its event, else None."""
    if isinstance(distribution, Independent) and not distribution.base_dist.event_shape:
        return distribution.base_dist
    return None


def _data_plate(site: dict[str, Any]) -> Any:
    for plate in site["cond_indep_stack"]:
        if plate.name == "data":
            return plate
    raise InputError(
        f"Expected every sample site inside the plate 'data'; the site {site['name']!r} stands outside it. "
        "Put it under `with pyro.plate('data', len(x)):`."
    )


_rows_of: weakref.WeakKeyDictionary[AutoGuide, Tensor] = weakref.WeakKeyDictionary()


def _check_same_rows(guide: AutoGuide, *data: Tensor) -> None:
    """Raise where an autoguide, which has a parameter for each place in the batch, meets other rows."""
    rows = _rows_of.setdefault(guide, data[0].detach().clone())
    if not torch.equal(rows, data[0]):
        raise InputError(
            f"Expected the {len(rows)} rows that {type(guide).__name__} saw first, in their order; got others. Pyro's "
            "autoguides hold parameters for one batch: give `fit` a DataLoader with all rows in one batch and "
            "shuffle=False, or take a guide that is a function of x."
        )


def _check_reparameterised(sites: list[dict[str, Any]]) -> None:
    for site in sites:
        if not site["fn"].has_rsample:
            raise InputError(
                f"Expected a reparameterised sample at every site of the guide; {site['name']!r} has none. "
                "Take another distribution, or another objective, such as ELBO."
            )


def _check_sites(model_trace: Any, guide_trace: Any) -> None:
    latent = {site["name"] for site in sample_sites(model_trace) if not site["is_observed"]}
    guided = {site["name"] for site in sample_sites(guide_trace) if not site["infer"].get("is_auxiliary")}
    if latent != guided:
        raise InputError(
            f"Expected the guide to sample the model's latent sites {sorted(latent)}; it samples "
            f"{sorted(guided)}. Give the sites of the guide the names of the model's."
        )
