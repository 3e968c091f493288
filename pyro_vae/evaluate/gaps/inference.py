"""Decomposition of the gap between the ELBO and log p(x) into approximation and amortization gap."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import fields
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pyro_vae._checks import check, check_integer
from pyro_vae._inputs import entry_for
from pyro_vae._programs import evaluation_mode
from pyro_vae.data.as_tensor import as_tensor
from pyro_vae.evaluate import Annealing, annealed_log_likelihood
from pyro_vae.evaluate._densities import Densities
from pyro_vae.evaluate._streaming import without_side_effects
from pyro_vae.evaluate.gaps.estimates import InferenceGaps, RowEstimate
from pyro_vae.evaluate.gaps.families import Member, RowFit, diagonal_gaussian, full_gaussian
from pyro_vae.evaluate.gaps.own_family import has_encoder, own_family
from pyro_vae.objectives import row_log_probs
from pyro_vae.objectives.independence import check_programs
from pyro_vae.objectives.unscored import unscored, with_placeholder_rows
from pyro_vae.progress import Bar, progress_bar
from pyro_vae.seeds import derive_seeds

__all__ = ["inference_gaps"]

CHUNK = 20_000  # pairs of sample and row scored at once
MOMENT_SAMPLES = 200  # for the initial mean and scale of Gaussians


def inference_gaps(
    model: Callable[..., Any],
    guide: Callable[..., Any],
    x: Any,
    *,
    log_prob: Any = None,
    annealing: Annealing | None = None,
    fit: RowFit | None = None,
    num_samples: int = 1000,
    batch_size: int = 100,
    max_plate_nesting: int = 1,
    seed: int = 0,
    progress: bool = False,
) -> InferenceGaps:
    """Decompose the gap between log p(x) and the ELBO (Cremer, Li & Duvenaud 2018, table 1).

        log p(x) - ELBO = [log p(x) - max over the family of ELBO] + [max over the family of ELBO - ELBO]
                        =            approximation gap             +          amortization gap

    The maximum is found by optimization for each row, starting at the guide, and evaluated with new noise. If the
    optimization stops early, the approximation gap is overestimated. All members are evaluated with the same noise, and
    errors of differences are those of paired differences.

    A row that cannot be scored gets NaN and does not affect others.

    If log p(x) is not given, it is the largest of several lower bounds, each reduced by four standard errors for the
    comparison: importance sampling from each member and, optionally, annealing.

    Args:
        model: A Pyro program with all its sites in the plate `"data"` and continuous latents.
        guide: A Pyro program with the model's latent sites. For a guide with a module `encoder` that runs once on x,
            the family is parametrized by the encoder's outputs; networks of the guide that take samples of z are
            fixed. For other guides the gap is not decomposed.
        x: Rows of shape (N, data_dim), or a tuple of rows and context.
        log_prob: Exact log p(x), shape (N,), nats, if known.
        annealing: Settings of annealing, or None.
        fit: Settings of the fit.
        num_samples: Samples of z per row for each bound.
        batch_size: Rows per batch.
        max_plate_nesting: Depth of nested plates in the programs.
        seed: Seed of all noise; the global random state is restored.
        progress: Whether to show a progress bar on stderr.

    Raises:
        InputError: If an argument is out of range, a latent is discrete or outside the plate, or the guide's
            family has no reparameterized samples.

    Example:
        >>> from sklearn.datasets import load_iris
        >>> from pyro_vae import ExactLinearGuide, LinearGaussianModel, RowFit, inference_gaps
        >>> from pyro_vae.baselines import PPCA
        >>> x = load_iris().data
        >>> ppca = PPCA(n_components=2).fit(x)
        >>> model = LinearGaussianModel.from_baseline(ppca)
        >>> guide = ExactLinearGuide(model)
        >>> gaps = inference_gaps(model, guide, x[:5], fit=RowFit(num_steps=10))
        >>> abs(gaps.inference_gap.mean) < 0.01  # the exact posterior leaves no gap
        True
    """
    data, fit = entry_for(model, guide).rows(x), fit or RowFit()
    check_integer(num_samples, "num_samples", minimum=2)
    check_integer(batch_size, "batch_size")
    num_rows = len(data[0])
    check(num_rows > 0, "Expected at least one row x; got none.")
    with without_side_effects(data), evaluation_mode(model, guide):
        torch.manual_seed(0)
        check_programs(model, guide, *data, max_plate_nesting=max_plate_nesting)
        failing = unscored(model, guide, data, max_plate_nesting) != 0
    data = data if failing.all() else with_placeholder_rows(data, failing)
    annealed = None
    if annealing is not None:
        annealed = annealed_log_likelihood(
            model, guide, data, annealing, num_simulated=0, batch_size=batch_size,
            max_plate_nesting=max_plate_nesting, seed=seed, progress=progress,
        )  # fmt: skip
    exact = None if log_prob is None else _checked(log_prob, num_rows)
    steps = num_rows * fit.num_steps * (2 + has_encoder(guide))
    bar = progress_bar(steps, "steps", "fitting families of posteriors", shown=progress)
    parts = []
    with without_side_effects(data), evaluation_mode(model, guide), bar:
        for start in range(0, num_rows, batch_size):
            rows = slice(start, start + batch_size)
            to_fit, to_score = derive_seeds(seed, start, count=2)
            torch.manual_seed(to_fit)
            densities = Densities(model, guide, tuple(values[rows] for values in data), max_plate_nesting)
            log_weights = _log_weights(densities, fit, num_samples, to_score, bar)
            known = [_Bound.sampled_log(weights) for weights in log_weights.values()]
            device = data[0].device
            if annealed is not None:
                known.append(
                    _Bound.given(annealed.value[rows].to(device), annealed.se[rows].to(device), num_samples)
                )
            if exact is not None:
                value = exact[rows].to(device)
                known = [_Bound.given(value, torch.zeros_like(value), num_samples)]
            parts.append(_decomposed(_largest(known), log_weights))
    gaps = _joined(parts)
    failing = failing.cpu()
    return gaps.each(lambda entry: entry.without(failing)) if failing.any() else gaps


def _log_weights(
    densities: Densities, fit: RowFit, num_samples: int, seed: int, bar: Bar
) -> dict[str, Tensor]:
    """Fit the families, then return the log weights of each and of the guide, all from the same noise.

    Returns:
        By name, shape (num_samples, N), float64.
    """
    members = _fitted(densities, fit, bar)

    def of_member(member: Member, count: int) -> Tensor:
        u = member.sample((count,))
        return densities.log_joint(u) - member.log_prob(u)

    def of_guide(count: int) -> Tensor:
        return row_log_probs(
            densities.model, densities.guide, *densities.data,
            num_particles=count, max_plate_nesting=densities.max_plate_nesting,
        ).log_weights  # fmt: skip

    draws = {name: partial(of_member, member) for name, member in members.items()}
    chunk = max(1, CHUNK // len(densities.data[0]))
    counts = [min(chunk, num_samples - done) for done in range(0, num_samples, chunk)]
    log_weights = {}
    for name, draw in (draws | {"amortized": of_guide}).items():
        torch.manual_seed(seed)
        log_weights[name] = torch.cat([draw(count).double() for count in counts])
    return log_weights


def _fitted(densities: Densities, fit: RowFit, bar: Bar) -> dict[str, Member]:
    """Fit the families, each starting from the previous one, since their optima are close."""
    members: dict[str, Member] = {}
    shape = (MOMENT_SAMPLES,)
    near, own = densities.from_guide(*shape), own_family(densities)
    if own is not None:
        members["own_family"] = fit(own, densities, bar)
        near = members["own_family"].sample(shape)
    members["diagonal"] = fit(diagonal_gaussian(near), densities, bar)
    near = members["diagonal"].sample(shape)
    members["full_covariance"] = fit(full_gaussian(near), densities, bar)
    return members


class _Bound(NamedTuple):
    """An estimate for each row with the influence of each draw, for paired differences."""

    value: Tensor  # shape (N,)
    influence: Tensor  # influence of each draw, mean 0, shape (num_samples, N)
    other_se: Tensor  # standard error from other draws, shape (N,)

    @classmethod
    def sampled(cls, log_weights: Tensor) -> _Bound:
        """The ELBO, the mean of the log weights."""
        mean = log_weights.mean(0)
        return cls(mean, log_weights - mean, torch.zeros_like(mean))

    @classmethod
    def sampled_log(cls, log_weights: Tensor) -> _Bound:
        """The logarithm of the mean weight, by the delta method."""
        value = log_weights.logsumexp(0) - math.log(len(log_weights))
        return cls(value, (log_weights - value).exp() - 1, torch.zeros_like(value))

    @classmethod
    def given(cls, value: Tensor, se: Tensor, num_samples: int) -> _Bound:
        """A value that does not depend on these draws."""
        return cls(value, value.new_zeros(num_samples, len(value)), se)

    def minus(self, other: _Bound) -> _Bound:
        """The difference, with a paired error."""
        other_se = (self.other_se.square() + other.other_se.square()).sqrt()
        return _Bound(self.value - other.value, self.influence - other.influence, other_se)

    def estimate(self) -> RowEstimate:
        """The value with its standard error."""
        variance = self.influence.square().sum(0) / (len(self.influence) - 1) / len(self.influence)
        return RowEstimate(self.value, (variance + self.other_se.square()).sqrt())


def _largest(bounds: list[_Bound]) -> _Bound:
    """Return for each row the largest of several lower bounds, compared after subtracting four standard errors.

    Without this, the noisiest bound would be preferred.
    """
    estimates = [bound.estimate() for bound in bounds]
    best = torch.stack([estimate.value - 4 * estimate.se for estimate in estimates]).argmax(0)
    rows = torch.arange(len(best), device=best.device)
    stacked = (torch.stack(part) for part in zip(*bounds, strict=True))
    value, influence, other_se = stacked
    return _Bound(value[best, rows], influence[best, :, rows].T, other_se[best, rows])


def _decomposed(log_prob: _Bound, log_weights: dict[str, Tensor]) -> InferenceGaps:
    elbo = {name: _Bound.sampled(weights) for name, weights in log_weights.items()}
    own, amortized = elbo.get("own_family"), elbo["amortized"]
    return InferenceGaps(
        log_prob=log_prob.estimate(),
        full_covariance=elbo["full_covariance"].estimate(),
        diagonal=elbo["diagonal"].estimate(),
        own_family=own and own.estimate(),
        amortized=amortized.estimate(),
        approximation_gap=own and log_prob.minus(own).estimate(),
        amortization_gap=own and own.minus(amortized).estimate(),
        inference_gap=log_prob.minus(amortized).estimate(),
    )


def _joined(parts: list[InferenceGaps]) -> InferenceGaps:
    """Concatenate the rows of several batches."""
    columns: dict[str, Any] = {}
    for name in (f.name for f in fields(InferenceGaps)):
        entries = [getattr(part, name) for part in parts]
        columns[name] = entries[0] and RowEstimate.joined(entries)
    return InferenceGaps(**columns)


def _checked(log_prob: Any, num_rows: int) -> Tensor:
    log_prob = as_tensor(log_prob, "log_prob")
    check(
        tuple(log_prob.shape) == (num_rows,),
        f"Expected log_prob with one value a row, shape ({num_rows},); got {tuple(log_prob.shape)}.",
    )
    return log_prob.double()
