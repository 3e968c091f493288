"""Wider proposals for importance sampling, made from a guide: programs to stand in its place.

A guide that is too narrow gives weights without a finite variance; the two here bound them at little cost.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor, nn
from torch.distributions import constraints

from pyro_vae._checks import InputError, check, check_positive
from pyro_vae._programs import Program
from pyro_vae.guides import AmortizedGuide
from pyro_vae.objectives.sites import log_density, sample_sites
from pyro_vae.objectives.supports import holds, support_of

__all__ = ["DefensiveGuide", "WidenedGuide"]


class _Proposal(Program):
    """A guide made from the posterior of another, at its one site."""

    def __init__(self, guide: nn.Module) -> None:
        super().__init__()
        check(
            callable(getattr(guide, "posterior", None)),
            f"Expected a guide with a method `posterior(x)` that gives q(z | x); {type(guide).__name__} has none. "
            "Widen a plain function by hand, where it samples z.",
        )
        self.guide: Any = guide
        self._site: str | None = "z" if type(guide).forward is AmortizedGuide.forward else None

    def posterior(self, x: Tensor) -> TorchDistribution:
        """Return the proposal for the rows `x`, shape (..., N, data_dim): a density over z, event (latent_dim,)."""
        raise NotImplementedError

    def forward(self, x: Tensor, *context: Any) -> Tensor:
        """Run the program on the rows `x`, shape (N, data_dim); return z, shape (N, latent_dim)."""
        name, posterior = self._site or self._found(x, *context), self.posterior(x)
        with pyro.plate("data", x.shape[-2], dim=-1):
            # z ~ proposal(z | x)
            return pyro.sample(name, posterior)

    def _found(self, *data: Tensor) -> str:
        """Return the name of the guide's site, looked up in a run of the guide.

        Raises:
            InputError: If it has several.
        """
        with torch.random.fork_rng(), torch.no_grad(), poutine.block():
            sites = sample_sites(poutine.trace(self.guide).get_trace(*data))
        names = [site["name"] for site in sites]
        check(
            len(names) == 1,
            f"Expected a guide of one site, to be widened by its `posterior`; {type(self.guide).__name__} samples "
            f"{names}. Widen each where it is sampled.",
        )
        self._site = names[0]
        return names[0]


class WidenedGuide(_Proposal):
    """A guide stretched about its mean m(x): `z = m(x) + factor (z' - m(x))` with `z' ~ q(z' | x)`.

    Args:
        guide: Module with `posterior(x)`, whose distribution has a mean.
        factor: How many times as wide, above 0; 1.1 to 1.5 mend a guide that is somewhat too narrow.

    Raises:
        InputError: If the guide has no `posterior`, or the factor is not above 0.
    """

    def __init__(self, guide: nn.Module, factor: float) -> None:
        super().__init__(guide)
        self.factor = check_positive(factor, "factor")

    def posterior(self, x: Tensor) -> TorchDistribution:
        """Return the stretched q(z | x).

        Raises:
            InputError: If q(z | x) has no mean to stretch about.
        """
        q = self.guide.posterior(x)
        try:
            mean = q.mean
        except NotImplementedError:
            raise InputError(
                f"Expected a guide whose q(z | x) has a mean to be widened about; {type(q).__name__} has none. "
                "Take DefensiveGuide."
            ) from None
        stretch = dist.transforms.AffineTransform(
            (1 - self.factor) * mean, self.factor, event_dim=q.event_dim
        )
        return dist.TransformedDistribution(q, [stretch])

    def extra_repr(self) -> str:
        """Return what `repr` shows of the module."""
        return f"factor={self.factor:g}"


class DefensiveGuide(_Proposal):
    """A guide mixed with the prior, `(1 - share) q(z | x) + share p(z)` (Hesterberg 1995).

    No weight then exceeds `p(x | z) / share`, so for a bounded likelihood their variance is finite.

    Args:
        guide: Module with `posterior(x)`.
        prior: Gives p(z) when called, such as `model.prior`.
        share: Of the samples that come from the prior, above 0 and below 1.

    Raises:
        InputError: If the guide has no `posterior`, or the share is out of range.
    """

    def __init__(self, guide: nn.Module, prior: Callable[[], TorchDistribution], share: float = 0.1) -> None:
        super().__init__(guide)
        self.prior: Callable[[], TorchDistribution] = prior
        self.share = check_positive(share, "share")
        check(share < 1, f"Expected share below 1, or nothing is left of the guide; got {share}.")

    def posterior(self, x: Tensor) -> TorchDistribution:
        """Return the mixture of q(z | x) and p(z)."""
        return _TwoComponents(self.guide.posterior(x), self.prior(), self.share)

    def extra_repr(self) -> str:
        """Return what `repr` shows of the module."""
        return f"share={self.share:g}"


class _TwoComponents(TorchDistribution):
    """`(1 - share) first + share second`, two distributions of one event shape, of any families."""

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012

    def __init__(self, first: TorchDistribution, second: TorchDistribution, share: float) -> None:
        self.first, self.second, self.share = first, second.expand(first.batch_shape), share
        super().__init__(first.batch_shape, first.event_shape, validate_args=False)

    @property
    def support(self) -> Any:
        own, prior = support_of(self.first), support_of(self.second)
        if own is None or prior is None or holds(prior, own):
            return self.second.support
        return (
            self.first.support
            if holds(own, prior)
            else constraints.independent(constraints.real, self.event_dim)
        )

    def expand(self, batch_shape: Any, _instance: Any = None) -> TorchDistribution:
        return _TwoComponents(self.first.expand(batch_shape), self.second, self.share)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Draw which component each sample is of, and return its."""
        first, second = self.first.sample(sample_shape), self.second.sample(sample_shape)
        shape = first.shape[: first.ndim - len(self.event_shape)]
        chosen = torch.rand(shape, device=first.device) < self.share
        return torch.where(chosen.reshape(shape + (1,) * len(self.event_shape)), second, first)

    def log_prob(self, value: Tensor) -> Tensor:
        first = log_density(self.first, value) + math.log1p(-self.share)
        return torch.logaddexp(first, log_density(self.second, value) + math.log(self.share))
