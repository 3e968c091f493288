"""Bounds on log p(x), computed from the log-probabilities of each row at each site.

An objective is a small frozen value. Called with a model and a guide it gives a module whose call on rows
is the loss to minimise, in nats per example. Pyro's `Trace_ELBO` runs the two programs underneath; what it
sums away, the value of each row, is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from pyro import poutine
from pyro.infer import Trace_ELBO
from pyro.poutine.util import prune_subsample_sites
from torch import Tensor, nn
from torch.distributions import Independent

from pyro_vae._checks import InputError, check, check_integer, check_positive
from pyro_vae._programs import local_parameters

__all__ = [
    "ELBO",
    "ElboEstimate",
    "Loss",
    "RowLogProbs",
    "Terms",
    "estimate_elbo",
    "non_finite_site",
    "row_log_probs",
]


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


class _RowTraceELBO(Trace_ELBO):
    """Pyro's `Trace_ELBO`, per row instead of summed."""

    def run(self, model: Any, guide: Any, *data: Tensor) -> Draws:
        (model_trace, guide_trace), *_ = self._get_traces(model, guide, data, {})
        sites, guide_sites = _sample_sites(model_trace), _sample_sites(guide_trace)
        self._check_sites(sites, guide_sites)
        return Draws(sites, guide_sites, self.num_particles, -self.max_plate_nesting)

    @staticmethod
    def _check_sites(sites: list[dict[str, Any]], guide_sites: list[dict[str, Any]]) -> None:
        latent = {site["name"] for site in sites if not site["is_observed"]}
        guided = {site["name"] for site in guide_sites if not site["infer"].get("is_auxiliary")}
        if latent != guided:
            raise InputError(
                f"Expected the guide to sample the model's latent sites {sorted(latent)}; it samples "
                f"{sorted(guided)}. Give the sites of the guide the names of the model's."
            )


@dataclass(frozen=True)
class Draws:
    """One run of guide and model: the sites of both, at the same z.

    Args:
        model_sites: Sample sites of the model, with their log-probabilities.
        guide_sites: Sample sites of the guide, likewise.
        num_particles: Samples of z for each row.
        particle_dim: Dimension in which they stand, from the right; of no meaning where there is one sample.
    """

    model_sites: list[dict[str, Any]]
    guide_sites: list[dict[str, Any]]
    num_particles: int
    particle_dim: int

    def log_probs(self) -> RowLogProbs:
        """Return the log-probabilities of each row, summed over sites by kind."""
        return RowLogProbs(
            likelihood=self._total(site for site in self.model_sites if site["is_observed"]),
            prior=self._total(site for site in self.model_sites if not site["is_observed"]),
            guide=self._total(self.guide_sites),
            score=self._total(site for site in self.guide_sites if not site["fn"].has_rsample),
        )

    def kl_groups(self) -> Tensor:
        """Return log q(z_j | x) - log p(z_j) for each group j, shape (num_particles, N, number of groups), nats.

        A group is one dimension of a site whose distributions in guide and model both factorise over
        dimensions, and a whole site where they do not.
        """
        prior = {site["name"]: site for site in self.model_sites}
        if any(site["infer"].get("is_auxiliary") for site in self.guide_sites):
            log_probs = self.log_probs()  # an auxiliary site has no divergence of its own
            return (log_probs.guide - log_probs.prior).unsqueeze(-1)
        groups = [self._site_kl_groups(site, prior[site["name"]]) for site in self.guide_sites]
        return torch.cat(groups, dim=-1)

    def _site_kl_groups(self, guide_site: dict[str, Any], prior_site: dict[str, Any]) -> Tensor:
        q, p = _factors(guide_site["fn"]), _factors(prior_site["fn"])
        if q is None or p is None:
            kl = guide_site["log_prob"] - prior_site["log_prob"]
            return self._per_row(guide_site, kl).unsqueeze(-1)
        kl = q.log_prob(guide_site["value"]) - p.log_prob(prior_site["value"])
        num_event_dims = guide_site["fn"].event_dim
        by_dimension = kl.flatten(-num_event_dims).movedim(-1, 0)
        return torch.stack([self._per_row(guide_site, part) for part in by_dimension], dim=-1)

    def _total(self, chosen: Iterable[dict[str, Any]]) -> Tensor:
        site = self.model_sites[0]
        zero = site["log_prob"].new_zeros(())
        values = (self._per_row(site, site["log_prob"]) for site in chosen)
        return sum(values, start=zero).expand(self.num_particles, _data_plate(site).size)

    def _per_row(self, site: dict[str, Any], log_prob: Tensor) -> Tensor:
        """Sum a site's log-probability over all plates but the rows and the particles."""
        kept = {_data_plate(site).dim, self.particle_dim if self.num_particles > 1 else 0}
        others = [dim for dim in range(-log_prob.ndim, 0) if dim not in kept]
        rows = log_prob.sum(others) if others else log_prob
        return rows.expand(self.num_particles, -1)


def _factors(distribution: Any) -> Any:
    """Return the distribution of single dimensions where it factorises over its event, else None."""
    if isinstance(distribution, Independent) and not distribution.base_dist.event_shape:
        return distribution.base_dist
    return None


def _sample_sites(trace: Any) -> list[dict[str, Any]]:
    return [site for site in trace.nodes.values() if site["type"] == "sample"]


def _data_plate(site: dict[str, Any]) -> Any:
    for plate in site["cond_indep_stack"]:
        if plate.name == "data":
            return plate
    raise InputError(
        f"Expected every sample site inside the plate 'data'; the site {site['name']!r} stands outside it. "
        "Put it under `with pyro.plate('data', len(x)):`."
    )


def row_log_probs(
    model: Callable[..., Any],
    guide: Callable[..., Any],
    *data: Tensor,
    num_particles: int = 1,
    max_plate_nesting: int = 1,
) -> RowLogProbs:
    """Run guide and model once and return the log-probabilities of each row.

    Args:
        model: A Pyro program with all its sites in the plate `"data"`.
        guide: A Pyro program with the model's latent sites.
        data: What both are called with: rows of shape (N, data_dim), and labels where they take them.
        num_particles: Samples of z for each row, drawn in one vectorized run.
        max_plate_nesting: How deep plates are nested in the programs, 1 where `"data"` is the only one.

    Raises:
        InputError: If a site stands outside the plate, or the guide's sites are not the model's.
    """
    return _draw(
        model, guide, *data, num_particles=num_particles, max_plate_nesting=max_plate_nesting
    ).log_probs()


def _draw(
    model: Callable[..., Any],
    guide: Callable[..., Any],
    *data: Tensor,
    num_particles: int,
    max_plate_nesting: int,
) -> Draws:
    elbo = _RowTraceELBO(num_particles, max_plate_nesting=max_plate_nesting, vectorize_particles=True)
    return elbo.run(model, guide, *data)


class Terms(NamedTuple):
    """What one evaluation of an objective gives."""

    loss: Tensor
    """To be minimised, scalar, nats per example; differentiable."""
    reconstruction: Tensor
    """log p(x | z), averaged over particles, shape (N,), nats; detached."""
    kl: Tensor
    """log q(z | x) - log p(z), averaged over particles, shape (N,), nats; detached."""


@dataclass(frozen=True)
class ELBO:
    """The evidence lower bound `E_q[log p(x, z) - log q(z | x)]` (Kingma & Welling 2014, eq. 2).

    The loss may weigh the divergence: it is minus the mean over rows of `log p(x | z) - w sum_j max(KL_j,
    free_bits)`, with `w` rising linearly to `beta` over the share `warmup` of training (Higgins et al. 2017,
    eq. 4; Bowman et al. 2016) and `KL_j` the mean over the batch of `log q(z_j | x) - log p(z_j)`, for each
    dimension of z where guide and prior factorise over dimensions and for the whole site where they do not
    (Kingma et al. 2016, eq. 15). What is reported beside the loss stays the bound itself.

    Args:
        num_particles: Samples of z for each row and step.
        max_plate_nesting: How deep plates are nested in the programs, 1 where `"data"` is the only one.
        beta: Weight of the divergence in the loss.
        warmup: Share of training over which the weight rises from 0 to `beta`.
        free_bits: Divergence of each dimension below which the loss does not lower it, nats.

    Raises:
        InputError: If an argument is out of range.
    """

    num_particles: int = 1
    max_plate_nesting: int = 1
    beta: float = 1.0
    warmup: float = 0.0
    free_bits: float = 0.0

    def __post_init__(self) -> None:
        check_integer(self.num_particles, "num_particles")
        check_integer(self.max_plate_nesting, "max_plate_nesting")
        check_positive(self.beta, "beta", zero=True)
        check_positive(self.free_bits, "free_bits", zero=True)
        check(0 <= self.warmup <= 1, f"Expected warmup in [0, 1], a share of training; got {self.warmup}.")

    def __call__(self, model: Callable[..., Any], guide: Callable[..., Any]) -> Loss:
        """Return the loss of `model` and `guide`, a module: `loss(x)` is a scalar in nats per example."""
        return Loss(self, model, guide)

    def kl_weight(self, progress: Tensor | None = None) -> Tensor | float:
        """Return the divergence's weight when the share `progress` of training (a scalar) is done."""
        if progress is None or self.warmup == 0:
            return self.beta
        return self.beta * (progress / self.warmup).clamp(0, 1)

    def loss(self, draws: Draws, progress: Tensor | None = None) -> Tensor:
        """Return the loss, in nats per example.

        Where a site of the guide has no reparameterised sample its gradient is the score function's,
        log q times the (constant) weighed bound of the row; the value is unchanged.

        Args:
            draws: A run of guide and model.
            progress: Share of training that is done, a scalar in [0, 1]; None stands for its end.
        """
        log_probs = draws.log_probs()
        weighed = log_probs.likelihood - self.kl_weight(progress) * self._kl(draws, log_probs)
        score = log_probs.score * weighed.detach()
        return -(weighed + score - score.detach()).mean()

    def _kl(self, draws: Draws, log_probs: RowLogProbs) -> Tensor:
        """Return each row's divergence, shape (num_particles, N), with `free_bits` in place of small groups."""
        if self.free_bits == 0:
            return log_probs.guide - log_probs.prior
        groups = draws.kl_groups()
        means = groups.detach().mean((0, 1))
        return torch.where(means > self.free_bits, groups, groups.new_tensor(self.free_bits)).sum(-1)


class Loss(nn.Module):
    """An objective bound to a model and a guide.

    Args:
        objective: What is computed from the rows' log-probabilities.
        model: A Pyro program, module or function.
        guide: A Pyro program, module or function.
    """

    def __init__(self, objective: ELBO, model: Callable[..., Any], guide: Callable[..., Any]) -> None:
        super().__init__()
        self.objective = objective
        self.model = model
        self.guide = guide

    def terms(self, *data: Tensor, progress: Tensor | None = None) -> Terms:
        """Return the loss with its parts for a batch; see `Terms`.

        Args:
            data: What model and guide are called with.
            progress: Share of training that is done, a scalar in [0, 1]; None stands for its end.
        """
        with local_parameters():
            draws = _draw(
                self.model,
                self.guide,
                *data,
                num_particles=self.objective.num_particles,
                max_plate_nesting=self.objective.max_plate_nesting,
            )
            loss = self.objective.loss(draws, progress)
        log_probs = draws.log_probs()
        kl = log_probs.guide - log_probs.prior
        return Terms(loss, log_probs.likelihood.detach().mean(0), kl.detach().mean(0))

    def forward(self, *data: Tensor) -> Tensor:
        """Return the loss for a batch at the end of training, a scalar in nats per example."""
        return self.terms(*data).loss


@dataclass(frozen=True)
class ElboEstimate:
    """The ELBO of each row, estimated by sampling.

    Args:
        reconstruction: log p(x | z), shape (N,), float64, nats.
        kl: log q(z | x) - log p(z), shape (N,), float64, nats.
    """

    reconstruction: Tensor
    kl: Tensor

    @property
    def value(self) -> Tensor:
        """ELBO of each row, shape (N,), float64, nats."""
        return self.reconstruction - self.kl

    @property
    def mean(self) -> float:
        """Mean over rows, nats per example."""
        return float(self.value.mean())

    @property
    def se(self) -> float:
        """Standard error of the mean, from the spread over rows; NaN for one row."""
        return float(self.value.std() / len(self.value) ** 0.5) if len(self.value) > 1 else float("nan")

    def summary(self) -> dict[str, float]:
        """Return the means and the standard error by name, nats per example."""
        return {
            "elbo": self.mean,
            "elbo_se": self.se,
            "reconstruction": float(self.reconstruction.mean()),
            "kl": float(self.kl.mean()),
        }

    def __repr__(self) -> str:
        return f"ElboEstimate({self.mean:.2f} ± {self.se:.2f} nats per example, {len(self.value)} rows)"


def estimate_elbo(
    model: Callable[..., Any],
    guide: Callable[..., Any],
    data: Iterable[Sequence[Tensor]],
    num_particles: int = 1,
    max_plate_nesting: int = 1,
    seed: int = 0,
) -> ElboEstimate:
    """Estimate the ELBO of each row, without gradients and with a noise of its own seed.

    Args:
        model: A Pyro program with all its sites in the plate `"data"`.
        guide: A Pyro program with the model's latent sites.
        data: Batches, tuples of tensors on the device of the programs, in order.
        num_particles: Samples of z for each row.
        max_plate_nesting: How deep plates are nested in the programs.
        seed: Of the noise; the random state is put back.
    """
    loss = ELBO(num_particles, max_plate_nesting)(model, guide)
    parts = []
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        for batch in data:
            _, reconstruction, kl = loss.terms(*batch)
            parts.append((reconstruction.double().cpu(), kl.double().cpu()))
    reconstruction, kl = (torch.cat(part) for part in zip(*parts, strict=True))
    return ElboEstimate(reconstruction, kl)


@torch.no_grad()
def non_finite_site(loss: Loss, *data: Tensor) -> str:
    """Return the name of the first sample site whose log-probability is not finite, guide before model.

    Args:
        loss: What is run once more, with the present random state.
        data: The batch that it is run on.
    """
    with local_parameters():
        guide = poutine.trace(loss.guide).get_trace(*data)
        model = poutine.trace(poutine.replay(loss.model, trace=guide)).get_trace(*data)
    for site in _sample_sites(prune_subsample_sites(guide)) + _sample_sites(prune_subsample_sites(model)):
        if not torch.isfinite(site["fn"].log_prob(site["value"])).all():
            return str(site["name"])
    return "none (the gradient alone is not finite)"
