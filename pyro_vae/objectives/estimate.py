"""Estimates of the ELBO per row, and diagnosis of non-finite values."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from pyro import poutine
from pyro.infer.autoguide import AutoGuide
from torch import Tensor

from pyro_vae._inputs import entry_for
from pyro_vae._programs import evaluation_mode, local_parameters
from pyro_vae.data.containers import BLOCK
from pyro_vae.distributions.point import Reconstructed
from pyro_vae.objectives.independence import check_programs
from pyro_vae.objectives.loss import Loss, Terms
from pyro_vae.objectives.rows import ProgramError, draw
from pyro_vae.objectives.sites import has_limits, has_values_outside, sample_sites, score, within_support
from pyro_vae.objectives.support_checks import check_bound_exists
from pyro_vae.objectives.unscored import failing_rows, unscored_message, unscored_part, with_placeholder_rows
from pyro_vae.statistics import mean_and_se

__all__ = ["ElboEstimate", "collect_elbo", "estimate_elbo", "non_finite_site", "outside_support_message"]


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
    def scored(self) -> ElboEstimate:
        """The estimate for the rows with a finite ELBO."""
        finite = self.value.isfinite()
        return ElboEstimate(self.reconstruction[finite], self.kl[finite])

    @property
    def warning(self) -> str | None:
        """A message about rows that could not be scored, or None."""
        return unscored_message(self.value)

    @property
    def mean(self) -> float:
        """Mean over rows, nats per example."""
        return float(self.value.mean())

    @property
    def se(self) -> float:
        """Standard error of the mean, from the spread over rows; NaN for one row."""
        return mean_and_se(self.value)[1]

    def summary(self) -> dict[str, float]:
        """Return the means and the standard error by name, nats per example."""
        return {
            "elbo": self.mean,
            "elbo_se": self.se,
            "reconstruction": float(self.reconstruction.mean()),
            "kl": float(self.kl.mean()),
        }

    def __repr__(self) -> str:
        text = f"{self.mean:.2f} ± {self.se:.2f} nats per example, {len(self.value)} rows"
        return f"ElboEstimate({text}{unscored_part(self.value)})"


def estimate_elbo(
    model: Callable[..., Any],
    guide: Callable[..., Any],
    data: Any,
    num_particles: int = 1,
    max_plate_nesting: int = 1,
    seed: int = 0,
) -> ElboEstimate:
    """Estimate the ELBO of each row, without gradients, with noise from `seed`.

    Modules are in evaluation mode during the call. A row that cannot be scored gets NaN or minus infinity, and
    `warning` names it. Scales of `poutine.scale` weight the training loss and are ignored here.

    Args:
        model: A Pyro program with all its sites in the plate `"data"`.
        guide: A Pyro program with the model's latent sites.
        data: Rows in any container that `fit` takes, or batches of them that can be read once.
        num_particles: Samples of z for each row.
        max_plate_nesting: Depth of nested plates in the programs.
        seed: Seed of the noise; the global random state is restored.

    Raises:
        InputError: If the programs' sites, plates, shapes or supports give no ELBO, or a row's log-probabilities
            depend on other rows or particles.

    Example:
        >>> from sklearn.datasets import load_iris
        >>> from pyro_vae import ExactLinearGuide, LinearGaussianModel, estimate_elbo
        >>> from pyro_vae.baselines import PPCA
        >>> x = load_iris().data
        >>> ppca = PPCA(n_components=2).fit(x)
        >>> model = LinearGaussianModel.from_baseline(ppca)
        >>> guide = ExactLinearGuide(model)
        >>> elbo = estimate_elbo(model, guide, x)
        >>> elbo.value.shape, bool((elbo.value == elbo.reconstruction - elbo.kl).all())
        (torch.Size([150]), True)
    """
    # Autoguides have parameters for the rows of one batch.
    size = sys.maxsize if isinstance(guide, AutoGuide) else BLOCK
    blocks = entry_for(model, guide).blocks(data, size)

    def terms(*block: Tensor) -> Terms:
        with local_parameters():
            draws = draw(
                model, guide, *block, num_particles=num_particles, max_plate_nesting=max_plate_nesting
            )
        check_bound_exists(draws.model_sites, draws.guide_sites)
        likelihood, divergence = draws.densities.likelihood, draws.reported_kl
        # If p(x | z) = 0 the bound is minus infinity, for any values of prior and guide at z.
        kl = torch.where(likelihood == -torch.inf, divergence.nan_to_num(0, 0, 0), divergence)
        return Terms((kl - likelihood).mean(), likelihood.mean(0), kl.mean(0))

    def checked() -> Iterator[Sequence[Tensor]]:
        for number, block in enumerate(blocks):
            if number == 0:
                check_programs(
                    model, guide, *block, num_particles=num_particles, max_plate_nesting=max_plate_nesting
                )
            yield block

    with torch.inference_mode(False), evaluation_mode(model, guide):
        return collect_elbo(lambda *block: _of_all_rows(terms, *block), checked(), seed)


def _of_all_rows(terms: Callable[..., Terms], *batch: Tensor) -> Terms:
    """Return the terms of a batch, NaN for rows on which the programs fail."""
    noise = torch.get_rng_state()
    try:
        return terms(*batch)
    except ProgramError:
        failing = failing_rows(terms, batch)
        torch.set_rng_state(noise)
        found = terms(*with_placeholder_rows(batch, failing))
        failing = failing.to(found.kl.device)
        return Terms(*(part.masked_fill(failing, torch.nan) if part.ndim else part for part in found))


def collect_elbo(
    terms: Callable[..., Terms], data: Iterable[Sequence[Tensor]], seed: int = 0
) -> ElboEstimate:
    """Return the ELBO of each row from a function that gives a batch's `Terms`; see `estimate_elbo`."""
    parts = []
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        for batch in data:
            _, reconstruction, kl = terms(*batch)
            parts.append((reconstruction.double().cpu(), kl.double().cpu()))
    reconstruction, kl = (torch.cat(part) for part in zip(*parts, strict=True))
    return ElboEstimate(reconstruction, kl)


@torch.no_grad()
def outside_support_message(loss: Loss, *data: Tensor) -> str | None:
    """Return a message if observed values are outside the support of their distribution, else None.

    Args:
        loss: The loss, run once in evaluation mode.
        data: The batch.
    """
    model, guide = loss.model, loss.guide
    with torch.random.fork_rng(), local_parameters(), evaluation_mode(model, guide):
        nesting, bound = loss.objective.max_plate_nesting, loss.objective.is_bound
        draws = draw(model, guide, *data, max_plate_nesting=nesting, bound=bound)
    if not bound:
        return None
    for site in draws.model_sites:
        if site["is_observed"] and has_limits(site) and has_values_outside(site):
            return (
                f"Values of the site {site['name']!r} lie outside the support of its distribution, "
                f"{site['fn'].support}: the training loss and ELBO of such rows are not log-probabilities, and "
                "estimators give them minus infinity. Binarize grey values, or take a likelihood for these values."
            )
    return None


@torch.no_grad()
def non_finite_site(loss: Loss, *data: Tensor) -> str:
    """Return the name of the first sample site with a non-finite log-probability, guide before model.

    Args:
        loss: The loss, run once more with the current random state.
        data: The batch.
    """
    with local_parameters():
        guide = poutine.trace(loss.guide).get_trace(*data)
        model = poutine.trace(poutine.replay(loss.model, trace=guide)).get_trace(*data)
    for site in sample_sites(guide) + sample_sites(model):
        score(site)
        if isinstance(site["fn"], Reconstructed):
            site["unscaled_log_prob"] = site["fn"].mean  # the error is finite if the reconstruction is
        elif not site["is_observed"]:
            within_support(site)
        if not torch.isfinite(site["unscaled_log_prob"]).all():
            return str(site["name"])
    return "none (the gradient alone is not finite)"
