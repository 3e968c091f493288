"""Results by family of guides: means with standard errors."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from pyro_vae._checks import check
from pyro_vae.experiment.comparison.guides import MeasuredGuide

__all__ = ["GuideScore", "GuideTable", "Mean", "crossed_mean", "elbo_of", "optimum_of", "score_guides"]


class Mean(NamedTuple):
    """A mean and its standard error, nats per example."""

    value: float
    se: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ± {self.se:.3f}"


@dataclass(frozen=True)
class GuideScore:
    """The results of one family: means over rows and seeds, with standard errors that include both.

    Args:
        name: One of `COMPARED`.
        elbo: ELBO of the test rows.
        gain: ELBO minus that of the first family, paired by row and seed.
        train_elbo: ELBO of some training rows.
        seed_spread: Standard deviation over seeds of the mean ELBO; NaN for one seed.
        log_likelihood: Importance-sampled log p(x).
        unreliable: Share of rows whose importance weights have a k-hat above 0.7.
        approximation_gap: log p(x) minus the ELBO of the family's best member for each row.
        amortization_gap: That ELBO minus that of the guide.
        inference_gaps: The sum of both gaps by seed.
        parameters: Number of parameters of one guide.
        seconds: Mean time to fit one.
    """

    name: str
    elbo: Mean
    gain: Mean
    train_elbo: Mean
    seed_spread: float
    log_likelihood: Mean
    unreliable: float
    approximation_gap: Mean
    amortization_gap: Mean
    inference_gaps: list[float]
    parameters: int
    seconds: float


def crossed_mean(values: Tensor) -> Mean:
    """Return the mean over seeds and rows, and its standard error for new seeds and new rows.

    For `value_sn = m + seed_s + row_n + rest_sn` the mean squares of the two-way analysis of variance give
    `se^2 = (MS_rows + max(MS_seeds - MS_rest, 0)) / (S N)`; with one seed it is that of the rows alone.

    Args:
        values: Shape (S, N), seeds by rows.
    """
    num_seeds, num_rows = values.shape
    mean = values.mean()
    by_seed, by_row = values.mean(1, keepdim=True), values.mean(0, keepdim=True)
    if num_rows < 2:
        return Mean(float(mean), math.nan)
    of_rows = num_seeds * (by_row - mean).square().sum() / (num_rows - 1)
    of_seeds = torch.zeros_like(mean)
    if num_seeds > 1:
        rest = (values - by_seed - by_row + mean).square().sum() / (num_rows - 1)
        of_seeds = (num_rows * (by_seed - mean).square().sum() - rest).clamp_min(0) / (num_seeds - 1)
    return Mean(float(mean), float(((of_rows + of_seeds) / values.numel()).sqrt()))


class GuideTable:
    """Measurements by family: seeds by rows."""

    def __init__(self, measured: Sequence[MeasuredGuide], joint: bool) -> None:
        check(
            all(torch.equal(one.chosen, measured[0].chosen) for one in measured),
            "Expected gaps that were measured on the same rows for all guides; they differ, as measurements of version "
            "0.1.0 and of now do. Start a new comparison.",
        )
        self.by_name: dict[str, list[MeasuredGuide]] = {}
        for one in sorted(measured, key=lambda one: one.seed):
            self.by_name.setdefault(one.name, []).append(one)
        self.shared = None if joint else _best_known(measured)

    def of(self, name: str, quantity: Callable[[MeasuredGuide], Tensor]) -> Tensor:
        """Return a quantity for each seed of a family, shape (S, rows)."""
        return torch.stack([quantity(one) for one in self.by_name[name]])

    def log_prob(self, one: MeasuredGuide) -> Tensor:
        """Return the best known estimate of log p(x) of the chosen rows under the guide's model, shape (R,)."""
        return _best_known([one]) if self.shared is None else self.shared

    def difference(self, upper: str, lower: str, quantity: Callable[[MeasuredGuide], Tensor]) -> Mean:
        """Return a quantity of one family minus that of another, paired over rows and seeds."""
        return crossed_mean(self.of(upper, quantity) - self.of(lower, quantity))


def score_guides(measured: Sequence[MeasuredGuide], *, joint: bool = False) -> list[GuideScore]:
    """Average the measurements over rows and seeds.

    For the gaps, log p(x) of a row is the largest of all lower bounds found for the same model; the bounds are compared
    after subtracting four standard errors from each. Families that share a model are thus compared with one number.

    Args:
        measured: Measurements on the same rows, with the same seeds for each family; gains are relative to the first
            family.
        joint: Whether each guide has its own model.

    Returns:
        A score for each family, in the order of their first measurement.
    """
    table = GuideTable(measured, joint)
    names = list(dict.fromkeys(one.name for one in measured))
    return [_score(table, name, names[0]) for name in names]


def _score(table: GuideTable, name: str, first: str) -> GuideScore:
    own = table.by_name[name]
    by_seed = table.of(name, elbo_of).mean(1)
    inference_gap = table.of(name, lambda one: table.log_prob(one) - one.amortized)
    return GuideScore(
        name,
        elbo=crossed_mean(table.of(name, elbo_of)),
        gain=table.difference(name, first, elbo_of),
        train_elbo=crossed_mean(table.of(name, lambda one: one.train_elbo)),
        seed_spread=float(by_seed.std()) if len(own) > 1 else math.nan,
        log_likelihood=crossed_mean(table.of(name, lambda one: one.likelihood.value)),
        unreliable=float(table.of(name, lambda one: one.likelihood.khat).gt(0.7).double().mean()),
        approximation_gap=crossed_mean(table.of(name, lambda one: table.log_prob(one) - one.optimum)),
        amortization_gap=crossed_mean(table.of(name, lambda one: one.optimum - one.amortized)),
        inference_gaps=inference_gap.mean(1).tolist(),
        parameters=own[0].parameters,
        seconds=sum(one.seconds for one in own) / len(own),
    )


def elbo_of(one: MeasuredGuide) -> Tensor:
    """Return the ELBO of each test row."""
    return one.likelihood.elbo


def optimum_of(one: MeasuredGuide) -> Tensor:
    """Return the ELBO of the family's best member for each chosen row."""
    return one.optimum


def _best_known(measured: Sequence[MeasuredGuide]) -> Tensor:
    """Return the largest estimate for each chosen row, selected after subtracting four standard errors, shape (R,)."""
    values = torch.stack([v for m in measured for v in (m.likelihood.value[m.chosen], m.log_prob)])
    errors = torch.stack([e for m in measured for e in (m.likelihood.se[m.chosen], m.log_prob_se)])
    return values.gather(0, (values - 4 * errors).argmax(0, keepdim=True)).squeeze(0)
