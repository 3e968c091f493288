"""Wider proposals for importance sampling, made from a guide.

A guide that is too narrow gives weights of infinite variance; these proposals bound the weights.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.distributions.torch_distribution import TorchDistribution
from pyro.infer.inspect import site_is_deterministic
from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample
from torch import Tensor

from pyro_vae._checks import InputError, check, check_positive
from pyro_vae._context import ContextRange, accepted_context, context_range_of, joined_range
from pyro_vae._programs import Program
from pyro_vae.evaluate.mixtures import ProgramMixture, TwoComponents
from pyro_vae.guides import AmortizedGuide
from pyro_vae.objectives.checks import check_has_density
from pyro_vae.objectives.sites import sample_sites

__all__ = ["DefensiveGuide", "WidenedGuide"]


class _Proposal(Program):
    """Base class of proposals made from a guide."""

    def __init__(self, guide: Callable[..., Any]) -> None:
        super().__init__()
        self.guide: Any = guide

    @property
    def context_range(self) -> ContextRange:
        """Number of context tensors that the guide takes."""
        return context_range_of(self.guide)

    def _posterior(self, x: Tensor, *context: Tensor) -> TorchDistribution:
        """Return the guide's q(z | x), without the context that it does not take."""
        check(
            callable(getattr(self.guide, "posterior", None)),
            f"Expected a guide with a method `posterior(x)` that gives q(z | x); {type(self.guide).__name__} has none. "
            "Run the proposal as a program instead.",
        )
        posterior: TorchDistribution = self.guide.posterior(
            x, *accepted_context(self.guide.posterior, context)
        )
        return posterior


class _Changed(Messenger):
    """Replace the distribution at each sample site of a program.

    Args:
        change: Function from name and distribution of a site to the new distribution.
    """

    def __init__(self, change: Callable[[str, TorchDistribution], TorchDistribution]) -> None:
        super().__init__()
        self.change = change

    def _pyro_sample(self, msg: Any) -> None:
        if not site_is_subsample(msg) and not site_is_deterministic(msg):
            msg["fn"] = self.change(msg["name"], msg["fn"])


class WidenedGuide(_Proposal):
    """A guide stretched about its mean m(x): `z = m(x) + factor (z' - m(x))` with `z' ~ q(z' | x)`.

    With several sites, each is stretched about its mean given the previously sampled sites.

    Args:
        guide: A Pyro program whose sites' distributions have means.
        factor: Factor of the width, above 0; 1.1 to 1.5 correct a guide that is slightly too narrow.

    Raises:
        InputError: If the factor is not above 0, or, when run, a site is discrete or has no mean.
    """

    def __init__(self, guide: Callable[..., Any], factor: float) -> None:
        super().__init__(guide)
        self.factor = check_positive(factor, "factor")

    def posterior(self, x: Tensor, *context: Tensor) -> TorchDistribution:
        """Return the stretched q(z | x) of a guide with a method `posterior`.

        Raises:
            InputError: If q(z | x) has no mean to stretch about.
        """
        return self._stretched("z", self._posterior(x, *context))

    def forward(self, x: Tensor, *context: Any) -> Any:
        """Run the guide, its sites stretched, on the rows `x`, shape (N, data_dim); return what it returns."""
        with _Changed(self._stretched):
            return self.guide(x, *accepted_context(self.guide, context))

    def _stretched(self, name: str, q: TorchDistribution) -> TorchDistribution:
        try:
            mean, discrete = q.mean, q.support.is_discrete
        except NotImplementedError:
            raise InputError(
                f"Expected a guide whose q({name} | x) has a mean to be widened about; {type(q).__name__} has none. "
                "Take DefensiveGuide."
            ) from None
        check(not discrete, f"Expected continuous sites to widen; {name!r} is discrete. Take DefensiveGuide.")
        stretch = dist.transforms.AffineTransform(
            (1 - self.factor) * mean, self.factor, event_dim=q.event_dim
        )
        return dist.TransformedDistribution(q, [stretch])

    def extra_repr(self) -> str:
        """Return what `repr` shows of the module."""
        return f"factor={self.factor:g}"


class DefensiveGuide(_Proposal):
    """A guide mixed with the prior, `(1 - share) q(z | x) + share p(z)` (Hesterberg 1995).

    No weight then exceeds `p(x | z) / share`, so for a bounded likelihood their variance is finite. For several latent
    sites see `JointDefensiveGuide`.

    Args:
        guide: A Pyro program of one site.
        prior: Module that returns p(z) when called, optionally with context, such as `model.prior`.
        share: Fraction of the samples from the prior, above 0 and below 1.

    Raises:
        InputError: If the share is out of range, or, when run, the guide has several sites.
    """

    def __init__(
        self, guide: Callable[..., Any], prior: Callable[..., TorchDistribution], share: float = 0.1
    ) -> None:
        super().__init__(guide)
        self.prior: Callable[..., TorchDistribution] = prior
        self.share = _checked_share(share)
        self._has_one_site = getattr(type(guide), "forward", None) is AmortizedGuide.forward

    @property
    def context_range(self) -> ContextRange:
        """Number of context tensors that guide and prior take."""
        return joined_range(context_range_of(self.guide), context_range_of(self.prior, beside=0))

    def posterior(self, x: Tensor, *context: Tensor) -> TorchDistribution:
        """Return the mixture of q(z | x) and p(z), for a guide with a method `posterior`."""
        return self._mixed(self._posterior(x, *context), context)

    def forward(self, x: Tensor, *context: Any) -> Any:
        """Run the guide with the mixture at its site, on the rows `x`, shape (N, data_dim); return what it returns."""
        if not self._has_one_site:
            self._check_one_site(x, *context)
        with _Changed(lambda _, q: self._mixed(q, context)):
            return self.guide(x, *accepted_context(self.guide, context))

    def _check_one_site(self, *data: Tensor) -> None:
        """Raise if the guide has several sites, tested in one run."""
        with torch.random.fork_rng(), torch.no_grad(), poutine.block():
            sites = sample_sites(poutine.trace(_with_context(self.guide, data[1:])).get_trace(*data))
        names = [site["name"] for site in sites]
        check(
            len(names) == 1,
            f"Expected a guide of one site, to be mixed with one prior; {type(self.guide).__name__} samples {names}. "
            "Take JointDefensiveGuide.",
        )
        self._has_one_site = True

    def _mixed(self, q: TorchDistribution, context: tuple[Any, ...]) -> TorchDistribution:
        check_has_density(q, "the guide")
        p = self.prior(*accepted_context(self.prior, context, beside=0))
        check(
            q.event_shape == p.event_shape,
            f"Expected guide and prior over z of one shape; they have event shapes {tuple(q.event_shape)} and "
            f"{tuple(p.event_shape)}.",
        )
        return TwoComponents(q, p, self.share)

    def extra_repr(self) -> str:
        """Return what `repr` shows of the module."""
        return f"share={self.share:g}"


class JointDefensiveGuide(_Proposal):
    """A guide of any sites mixed with the model's prior, `(1 - share) q(z1, z2, ... | x) + share p(z1, z2, ...)`.

    As `DefensiveGuide`, with the prior drawn and scored by running the model. The mixture has a joint density of
    all sites, but none of single sites. Each run needs two more runs of guide and model.

    Args:
        guide: A Pyro program with the model's latent sites.
        model: A Pyro program with all its sites in the plate `"data"`.
        share: Fraction of the samples from the prior, above 0 and below 1.

    Raises:
        InputError: If the share is out of range, or, when run, the guide has other sites than the model.
    """

    def __init__(self, guide: Callable[..., Any], model: Callable[..., Any], share: float = 0.1) -> None:
        super().__init__(guide)
        self.model: Callable[..., Any] = model
        self.share = _checked_share(share)

    @property
    def context_range(self) -> ContextRange:
        """Number of context tensors that guide and model take."""
        return joined_range(context_range_of(self.guide), context_range_of(self.model))

    def forward(self, x: Tensor, *context: Any) -> dict[str, Tensor]:
        """Run the program on the rows `x`, shape (N, data_dim); return the values by site, each (N, *event)."""
        guide, model = (_with_context(program, context) for program in (self.guide, self.model))
        mixture = ProgramMixture(guide, model, self.share, (x, *context))
        sites = mixture.draw()
        with pyro.plate("data", x.shape[-2], dim=-1):
            for name, site in sites.items():
                # z1, z2, ... ~ (1 - share) q(z1, z2, ... | x) + share p(z1, z2, ...), all at once
                mixture.values[name] = pyro.sample(name, site)
        return mixture.values

    def extra_repr(self) -> str:
        """Return what `repr` shows of the module."""
        return f"share={self.share:g}"


def _checked_share(share: float) -> float:
    share = check_positive(share, "share")
    check(share < 1, f"Expected share below 1; got {share}.")
    return share


def _with_context(program: Callable[..., Any], context: tuple[Any, ...]) -> Callable[..., Any]:
    """Return a program that takes all context, and passes on the part that `program` takes."""
    return lambda x, *_: program(x, *accepted_context(program, context))
