"""Mixtures of a guide and a prior: two distributions at one site, or two programs over several sites."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from pyro import poutine
from pyro.distributions.torch_distribution import TorchDistribution
from pyro.poutine.runtime import get_plates
from torch import Tensor
from torch.distributions import constraints

from pyro_vae._checks import check
from pyro_vae.evaluate._many_samples import rows_last, vectorized_trace
from pyro_vae.objectives.checks import check_has_density
from pyro_vae.objectives.sites import log_density, sample_sites
from pyro_vae.objectives.supports import contains, support_of

__all__ = ["ProgramMixture", "SiteOfMixture", "TwoComponents"]


class TwoComponents(TorchDistribution):
    """The mixture `(1 - share) first + share second` of two distributions with the same event shape."""

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012

    def __init__(self, first: TorchDistribution, second: TorchDistribution, share: float) -> None:
        self.first, self.second, self.share = first, second.expand(first.batch_shape), share
        super().__init__(first.batch_shape, first.event_shape, validate_args=False)

    @property
    def support(self) -> Any:
        """The larger of the components' supports, or the real line if neither contains the other."""
        return _joint_support(self.first, self.second)

    def expand(self, batch_shape: Any, _instance: Any = None) -> TorchDistribution:
        """Return the mixture with both components expanded to a batch shape."""
        return TwoComponents(self.first.expand(batch_shape), self.second, self.share)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Draw the component of each sample, then the sample from it."""
        first, second = self.first.sample(sample_shape), self.second.sample(sample_shape)
        shape = first.shape[: first.ndim - len(self.event_shape)]
        chosen = torch.rand(shape, device=first.device) < self.share
        return torch.where(chosen.reshape(shape + (1,) * len(self.event_shape)), second, first)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-density, of the batch shape."""
        return _log_mixture(log_density(self.first, value), log_density(self.second, value), self.share)


class ProgramMixture:
    """`(1 - share) q(z | x) + share p(z)` for fixed rows, where z denotes all latent sites of a model jointly.

    The mixture has no closed form per site unless guide and model draw the sites in the same order. The last site
    therefore has the joint log-probability of all sites, as a function of the values at the others, and each other site
    has 0.

    Args:
        guide: A Pyro program with the model's latent sites.
        model: A Pyro program with all its sites in the plate `"data"`.
        share: Share of the prior.
        data: Arguments of both programs, rows first.
    """

    def __init__(
        self, guide: Callable[..., Any], model: Callable[..., Any], share: float, data: tuple[Tensor, ...]
    ) -> None:
        self.guide, self.model, self.share, self.data = guide, model, share, data
        self.values: dict[str, Tensor] = {}
        """Values of the sites that were sampled so far."""

    @torch.no_grad()
    def draw(self) -> dict[str, SiteOfMixture]:
        """Draw all sites for each index of the enclosing plates; return their distributions in the guide's order."""
        enclosing = {plate.dim: plate.size for plate in get_plates()}
        shape = [enclosing.get(dim, 1) for dim in range(min(enclosing, default=-1), -1)] + [len(self.data[0])]
        count = math.prod(shape[:-1])
        guided, prior = (
            {site["name"]: site for site in sample_sites(self._trace(program, count))}
            for program in (self.guide, poutine.uncondition(self.model))
        )
        check(
            set(guided) <= set(prior),
            f"Expected the guide to sample the model's latent sites; it samples {sorted(guided)} and the model "
            f"{sorted(prior)}. Give the guide's sites the names of the model's.",
        )
        for name, site in guided.items():
            check_has_density(site["fn"], f"the guide's site {name!r}")
        chosen = torch.rand(count, shape[-1], device=self.data[0].device) < self.share
        sites = {}
        for name, own in guided.items():
            first, second, event = rows_last(own), rows_last(prior[name]), own["fn"].event_shape
            value = torch.where(chosen.reshape(*chosen.shape, *(1 for _ in event)), second, first)
            support = _joint_support(own["fn"], prior[name]["fn"])
            is_last = name == list(guided)[-1]
            sites[name] = SiteOfMixture(
                value.reshape(*shape, *event), len(event), support, self, name, is_last
            )
        return sites

    def log_prob(self, values: dict[str, Tensor], batch: torch.Size) -> Tensor:
        """Return the log-density of all sites together at values of batch shape (..., N)."""
        count, n = math.prod(batch[:-1]), batch[-1]
        flat = {name: value.reshape(count, n, *value.shape[len(batch) :]) for name, value in values.items()}
        guided, prior = (self._log_density(program, flat) for program in (self.guide, self.model))
        return _log_mixture(guided, prior, self.share).reshape(batch)

    def _log_density(self, program: Callable[..., Any], values: dict[str, Tensor]) -> Tensor:
        """Return a program's log-density at values of all latent sites, shape (count, N)."""
        count, n = next(iter(values.values())).shape[:2]
        nodes = self._trace(program, count, values).nodes
        sites = (nodes[name] for name in values)
        parts = torch.stack([log_density(s["fn"], s["value"]).reshape(count, -1, n).sum(1) for s in sites])
        # Outside the support of one site, the parameters of the next may be NaN.
        return parts.sum(0).masked_fill((parts == -torch.inf).any(0), -torch.inf)

    def _trace(self, program: Callable[..., Any], count: int, values: dict[str, Tensor] | None = None) -> Any:
        """Run a program `count` times, hidden from enclosing handlers, left of the dimensions of their plates."""
        nesting = max([1, *(-plate.dim for plate in get_plates())])
        with poutine.block():
            return vectorized_trace(program, self.data, count, nesting, values)


class SiteOfMixture(TorchDistribution):
    """One site of a `ProgramMixture`, drawn with the others; its log-probability is that of all sites, or 0."""

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012

    def __init__(
        self, value: Tensor, event_dim: int, support: Any, mixture: ProgramMixture, name: str, is_last: bool
    ) -> None:
        self.value, self._support, self.mixture, self.name, self.is_last = (
            value,
            support,
            mixture,
            name,
            is_last,
        )
        batch = value.ndim - event_dim
        super().__init__(value.shape[:batch], value.shape[batch:], validate_args=False)

    @property
    def support(self) -> Any:
        """The support of the mixture of the site's two distributions."""
        return self._support

    def expand(self, batch_shape: Any, _instance: Any = None) -> TorchDistribution:
        """Return the site with its value expanded to a batch shape."""
        value = self.value.expand(*batch_shape, *self.event_shape)
        return SiteOfMixture(value, self.event_dim, self._support, self.mixture, self.name, self.is_last)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Return the value that was drawn with the other sites; more draws need another run of the program."""
        if len(sample_shape):
            raise NotImplementedError("One site of a mixture of programs cannot be drawn without the others.")
        return self.value

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the joint log-density of all sites if this is the last one, given the sampled others; else 0."""
        batch = value.shape[: value.ndim - len(self.event_shape)]
        if not self.is_last:
            return self.mixture.data[0].new_zeros(batch)
        return self.mixture.log_prob(self.mixture.values | {self.name: value}, batch)


def _log_mixture(first: Tensor, second: Tensor, share: float) -> Tensor:
    return torch.logaddexp(first + math.log1p(-share), second + math.log(share))


def _joint_support(first: TorchDistribution, second: TorchDistribution) -> Any:
    """Return the support of a mixture of two distributions."""
    own, prior = support_of(first), support_of(second)
    if own is None or prior is None or contains(prior, own):
        return second.support
    event_dim = len(first.event_shape)
    return first.support if contains(own, prior) else constraints.independent(constraints.real, event_dim)
