"""Discrete latent sites: detection, enumeration of states, and relaxed samples."""

from __future__ import annotations

import math
from typing import Any

import torch
from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample
from torch import Tensor
from torch.distributions import Bernoulli, Independent, OneHotCategorical
from torch.distributions.relaxed_bernoulli import LogitRelaxedBernoulli
from torch.distributions.relaxed_categorical import ExpRelaxedCategorical

from pyro_vae._checks import InputError, check
from pyro_vae.distributions.one_hot import OneHotCode
from pyro_vae.objectives.divergences import Divergence, analytic_kl, sampled_kl
from pyro_vae.objectives.draws import Draws
from pyro_vae.objectives.sites import Site, sample_sites
from pyro_vae.objectives.supports import measure_of

__all__ = ["Relaxed", "all_states", "check_same_order", "divergence_of", "is_discrete", "num_states"]


def is_discrete(site: Site) -> bool:
    """Return whether a site has a probability mass function and no reparameterized samples."""
    return measure_of(site["fn"]) == "a probability mass" and not site["fn"].has_rsample


def divergence_of(draws: Draws) -> Divergence:
    """Return the divergence for a loss: in closed form for a single discrete site, which reduces variance."""
    sites = draws.guide_sites
    return analytic_kl if len(sites) == 1 and is_discrete(sites[0]) else sampled_kl


def num_states(distribution: Any) -> int:
    """Return the number of states of one row's z.

    Raises:
        InputError: If they cannot be listed.
    """
    base, variables = _one_variable(distribution)
    return len(_support(base)) ** variables


def all_states(distribution: Any) -> Tensor:
    """Return all states of one row's z, shape (num_states, *event_shape).

    Raises:
        InputError: If they cannot be listed.
    """
    base, variables = _one_variable(distribution)
    values = _support(base)
    number = torch.arange(len(values) ** variables, device=values.device)
    digits = [number // len(values) ** place % len(values) for place in range(variables)]
    table = values[torch.stack(digits, dim=1)]
    return table.reshape(len(table), *distribution.event_shape)


def _one_variable(distribution: Any) -> tuple[Any, int]:
    """Return the distribution of single variables, and their number in one row's z."""
    if isinstance(distribution, OneHotCode):
        return distribution.variables, distribution.count
    if isinstance(distribution, Independent):
        base, inner = _one_variable(distribution.base_dist)
        shape = distribution.event_shape[: distribution.reinterpreted_batch_ndims]
        return base, inner * math.prod(shape)
    return distribution, 1


def _support(base: Any) -> Tensor:
    """Return the values of one variable, shape (states, *event_shape)."""
    if isinstance(base, OneHotCode):
        return torch.eye(base.states, dtype=base.logits.dtype, device=base.logits.device)
    check(
        getattr(base, "has_enumerate_support", False),
        f"Expected a discrete site with finitely many states; {type(base).__name__} cannot be enumerated. Use "
        "categorical or Bernoulli variables, or another objective, such as RLOO.",
    )
    values = base.enumerate_support(expand=False)
    return values.reshape(len(values), *base.event_shape)


class Relaxed(Messenger):
    """Replace samples of a guide's discrete sites by relaxed samples, or by their nearest codes, with gradients.

    A relaxed sample of a categorical variable is `softmax((logits + Gumbel noise) / temperature)` (Jang et al. 2017,
    eq. 2; Maddison et al. 2017, eq. 10), of a Bernoulli variable the same for two states. The site keeps its discrete
    distribution, whose log-probability is not defined at relaxed values.

    Args:
        temperature: Temperature, above 0; samples approach codes as it decreases.
        hard: Whether the value is the nearest code, with the gradient of the relaxed one (straight-through).
        num_particles: Number of samples per row.
        max_plate_nesting: Depth of nested plates in the guide; the particle dimension is to their left.
    """

    def __init__(
        self, temperature: Tensor | float, hard: bool, num_particles: int = 1, max_plate_nesting: int = 1
    ) -> None:
        super().__init__()
        self.temperature, self.hard = temperature, hard
        self.num_particles, self.max_plate_nesting = num_particles, max_plate_nesting

    def _pyro_sample(self, msg: Any) -> None:
        if msg["done"] or msg["is_observed"] or site_is_subsample(msg):
            return
        if is_discrete(msg):
            msg["value"], msg["done"] = self._sample(msg["fn"], msg["name"]), True

    def _sample(self, distribution: Any, name: str) -> Tensor:
        temperature: Any = self.temperature
        shape, base = self._sample_shape(distribution), distribution
        while isinstance(base, Independent):
            base = base.base_dist
        if isinstance(base, OneHotCode | OneHotCategorical):
            logits = base.logits
            relaxed = ExpRelaxedCategorical(temperature, logits=logits, validate_args=False)
            soft = relaxed.rsample(shape).exp()
            states = torch.arange(logits.shape[-1], device=logits.device)
            code = (soft.argmax(-1, keepdim=True) == states).to(soft.dtype)
        elif isinstance(base, Bernoulli):
            binary = LogitRelaxedBernoulli(temperature, logits=base.logits, validate_args=False)
            soft = binary.rsample(shape).sigmoid()
            code = (soft > 0.5).to(soft.dtype)
        else:
            raise InputError(
                f"Expected one-hot categorical or Bernoulli variables at the site {name!r}, whose values can be "
                f"relaxed; got {type(base).__name__}. Take OneHotCategorical, or another objective, such as RLOO."
            )
        # The sum equals the code exactly: the difference is exactly 0.
        value = code + (soft - soft.detach()) if self.hard else soft
        return value.reshape(*shape, *distribution.batch_shape, *distribution.event_shape)

    def _sample_shape(self, distribution: Any) -> torch.Size:
        """Return the particle shape, to the left of the batch; empty if the batch includes particles."""
        missing = self.max_plate_nesting + 1 - len(distribution.batch_shape)
        if self.num_particles == 1 or missing <= 0:
            return torch.Size()
        return torch.Size((self.num_particles, *[1] * (missing - 1)))


def check_same_order(guide_trace: Any, model_trace: Any) -> None:
    """Raise unless guide and model draw their latent sites in the same order.

    In that case the total divergence is the sum of the sites' divergences given the previous sites.

    Raises:
        InputError: If not; names both orders.
    """
    guided = [site["name"] for site in sample_sites(guide_trace)]
    latent = [site["name"] for site in sample_sites(model_trace) if not site["is_observed"]]
    check(
        guided == latent,
        f"Expected the guide to draw the latent sites in the model's order, {', '.join(latent)}, for divergences in "
        f"closed form; it draws {', '.join(guided)}. Reorder them, or take another objective, such as RLOO.",
    )
