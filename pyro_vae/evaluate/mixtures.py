"""Mixtures of a guide and a prior: of two distributions at one site, and of two programs over several."""

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
from pyro_vae.objectives.supports import holds, support_of

__all__ = ["ProgramMixture", "SiteOfMixture", "TwoComponents"]


class TwoComponents(TorchDistribution):
    """`(1 - share) first + share second`, two distributions of one event shape, of any families."""

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012

    def __init__(self, first: TorchDistribution, second: TorchDistribution, share: float) -> None:
        self.first, self.second, self.share = first, second.expand(first.batch_shape), share
        super().__init__(first.batch_shape, first.event_shape, validate_args=False)

    @property
    def support(self) -> Any:
        """The support of one component, or the real line where neither holds the other's."""
        return _joint_support(self.first, self.second)

    def expand(self, batch_shape: Any, _instance: Any = None) -> TorchDistribution:
        """Return the mixture with both components expanded to a batch shape."""
        return TwoComponents(self.first.expand(batch_shape), self.second, self.share)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Draw which component each sample is of, and return its."""
        first, second = self.first.sample(sample_shape), self.second.sample(sample_shape)
        shape = first.shape[: first.ndim - len(self.event_shape)]
        chosen = torch.rand(shape, device=first.device) < self.share
        return torch.where(chosen.reshape(shape + (1,) * len(self.event_shape)), second, first)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-density, of the batch shape."""
        return _log_mixture(log_density(self.first, value), log_density(self.second, value), self.share)


class ProgramMixture:
    """`(1 - share) q(z | x) + share p(z)` for fixed rows, where z is all latent sites of a model jointly.

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
        """What the program has at each site so far."""

    @torch.no_grad()
    def draw(self) -> dict[str, SiteOfMixture]:
        """Draw all sites, for each place of the plates around, and return their distributions in the guide's order."""
        around = {plate.dim: plate.size for plate in get_plates()}
        shape = [around.get(dim, 1) for dim in range(min(around, default=-1), -1)] + [len(self.data[0])]
        count = math.prod(shape[:-1])
        ours, theirs = (
            {site["name"]: site for site in sample_sites(self._trace(program, count))}
            for program in (self.guide, poutine.uncondition(self.model))
        )
        check(
            set(ours) <= set(theirs),
            f"Expected the guide to sample the model's latent sites; it samples {sorted(ours)} and the model "
            f"{sorted(theirs)}. Give the guide's sites the names of the model's.",
        )
        for name, site in ours.items():
            check_has_density(site["fn"], f"the guide's site {name!r}")
        chosen = torch.rand(count, shape[-1], device=self.data[0].device) < self.share
        sites = {}
        for name, own in ours.items():
            first, second, event = rows_last(own), rows_last(theirs[name]), own["fn"].event_shape
            value = torch.where(chosen.reshape(*chosen.shape, *(1 for _ in event)), second, first)
            support = _joint_support(own["fn"], theirs[name]["fn"])
            whole = name == list(ours)[-1]
            sites[name] = SiteOfMixture(value.reshape(*shape, *event), len(event), support, self, name, whole)
        return sites

    def log_prob(self, values: dict[str, Tensor], batch: torch.Size) -> Tensor:
        """Return the log-density of all sites together at values of batch shape (..., N)."""
        count, n = math.prod(batch[:-1]), batch[-1]
        flat = {name: value.reshape(count, n, *value.shape[len(batch) :]) for name, value in values.items()}
        ours, theirs = (self._log_density(program, flat) for program in (self.guide, self.model))
        return _log_mixture(ours, theirs, self.share).reshape(batch)

    def _log_density(self, program: Callable[..., Any], values: dict[str, Tensor]) -> Tensor:
        """Return a program's log-density at values of all latent sites, shape (count, N)."""
        count, n = next(iter(values.values())).shape[:2]
        nodes = self._trace(program, count, values).nodes
        sites = (nodes[name] for name in values)
        parts = torch.stack([log_density(s["fn"], s["value"]).reshape(count, -1, n).sum(1) for s in sites])
        # Outside of one site's support the parameters of the next may be no numbers.
        return parts.sum(0).masked_fill((parts == -torch.inf).any(0), -torch.inf)

    def _trace(self, program: Callable[..., Any], count: int, values: dict[str, Tensor] | None = None) -> Any:
        """Run a program `count` times, unseen by the handlers around, whose plates' dimensions stay free."""
        nesting = max([1, *(-plate.dim for plate in get_plates())])
        with poutine.block():
            return vectorized_trace(program, self.data, count, nesting, values)


class SiteOfMixture(TorchDistribution):
    """One site of a `ProgramMixture`: the value drawn with the other sites, and the log-probability of all, or 0."""

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012

    def __init__(
        self, value: Tensor, event_dim: int, support: Any, mixture: ProgramMixture, name: str, whole: bool
    ) -> None:
        self.value, self._support, self.mixture, self.name, self.whole = value, support, mixture, name, whole
        batch = value.ndim - event_dim
        super().__init__(value.shape[:batch], value.shape[batch:], validate_args=False)

    @property
    def support(self) -> Any:
        """The support of the site, as of a mixture of its two distributions."""
        return self._support

    def expand(self, batch_shape: Any, _instance: Any = None) -> TorchDistribution:
        """Return the site with its value expanded to a batch shape."""
        value = self.value.expand(*batch_shape, *self.event_shape)
        return SiteOfMixture(value, self.event_dim, self._support, self.mixture, self.name, self.whole)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Return the value that was drawn with the other sites; more draws need another run of the program."""
        if len(sample_shape):
            raise NotImplementedError("One site of a mixture of programs cannot be drawn without the others.")
        return self.value

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-density of all sites at the last of them, with the others as the program has them; else 0."""
        batch = value.shape[: value.ndim - len(self.event_shape)]
        if not self.whole:
            return self.mixture.data[0].new_zeros(batch)
        return self.mixture.log_prob(self.mixture.values | {self.name: value}, batch)


def _log_mixture(first: Tensor, second: Tensor, share: float) -> Tensor:
    return torch.logaddexp(first + math.log1p(-share), second + math.log(share))


def _joint_support(first: TorchDistribution, second: TorchDistribution) -> Any:
    """Return the support of a mixture of two distributions."""
    own, prior = support_of(first), support_of(second)
    if own is None or prior is None or holds(prior, own):
        return second.support
    event_dim = len(first.event_shape)
    return first.support if holds(own, prior) else constraints.independent(constraints.real, event_dim)
