"""Results by family of guides: means with standard errors, and checks of inequalities that hold in theory."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from pyro_vae._checks import check
from pyro_vae.experiment.comparison.guides import MeasuredGuide

__all__ = ["CONTAINED", "Claim", "GuideScore", "Mean", "check_order", "crossed_mean", "score_guides"]

CONTAINED = (
    ("diagonal", "full-covariance"),
    ("diagonal", "low-rank"),
    ("low-rank", "full-covariance"),
    ("diagonal", "mixture"),
    ("diagonal", "iaf"),
    ("diagonal", "spline"),
    ("diagonal", "semi-amortized"),
)
"""Pairs of a guide and a richer one that contains it: L without its lower part, F = 0, equal components, maps that are
the identity, steps of length 0."""
OF_A_ROW = ("diagonal", "full-covariance", "low-rank", "mixture")
"""Families whose members are determined by the encoder's outputs alone, so that they also contain each other for every
row. The maps of a flow are the same for all rows, and stay fixed while the best member for a row is optimised."""
TOLERANCE = 2.0
"""Number of standard errors by which a difference may have the wrong sign."""


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


@dataclass(frozen=True)
class Claim:
    """An inequality that theory implies, and the measured values.

    Args:
        upper: Name of the larger quantity.
        lower: Name of the smaller quantity.
        difference: The first minus the second, on test rows.
        train: The same on training rows; None if it was not measured.
    """

    upper: str
    lower: str
    difference: Mean
    train: Mean | None = None

    @property
    def holds(self) -> bool:
        """Whether the difference is not below zero by more than two standard errors and rounding."""
        return _not_below_zero(self.difference)

    def __str__(self) -> str:
        value, se = self.difference
        if self.holds:
            return f"{self.upper} is not below {self.lower}: {value:+.3f} ± {se:.3f}."
        sigmas = -value / se if se > 0 else math.inf
        text = f"{self.upper} is {-value:.3f} ± {se:.3f} below {self.lower} ({sigmas:.1f} standard errors)"
        if self.train is None:
            return text + "."
        on_train = f"{self.train.value:+.3f} ± {self.train.se:.3f}"
        if _not_below_zero(self.train):
            return f"{text}, though not on training rows ({on_train}): its encoder carries over less well to new rows."
        return f"{text}, on training rows too ({on_train}): its training has not come as far."


def _not_below_zero(difference: Mean) -> bool:
    return difference.value >= -TOLERANCE * difference.se - 1e-6


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


class _Table:
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
    table = _Table(measured, joint)
    names = list(dict.fromkeys(one.name for one in measured))
    return [_score(table, name, names[0]) for name in names]


def _score(table: _Table, name: str, first: str) -> GuideScore:
    own = table.by_name[name]
    by_seed = table.of(name, _elbo).mean(1)
    inference_gap = table.of(name, lambda one: table.log_prob(one) - one.amortized)
    return GuideScore(
        name,
        elbo=crossed_mean(table.of(name, _elbo)),
        gain=table.difference(name, first, _elbo),
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


def check_order(measured: Sequence[MeasuredGuide], *, joint: bool = False) -> list[Claim]:
    """Check the inequalities between guides, their families and log p(x), on paired differences.

    The ELBO of a guide is not below that of a guide that it contains; the same holds for the best members of their
    families for a row. The best member is not below the guide, and neither is above log p(x).

    Args:
        measured: Measurements, see `score_guides`.
        joint: Whether each guide has its own model; families are then not compared row by row.
    """
    table = _Table(measured, joint)
    pairs = [(poor, rich) for poor, rich in CONTAINED if {poor, rich} <= set(table.by_name)]
    claims = [
        Claim(
            rich,
            f"{poor}, which it contains",
            table.difference(rich, poor, _elbo),
            table.difference(rich, poor, lambda one: one.train_elbo),
        )
        for poor, rich in pairs
    ]
    claims += [
        Claim(
            f"the best {rich} of a row",
            f"the best {poor}",
            table.difference(rich, poor, lambda one: one.optimum),
        )
        for poor, rich in pairs
        if not joint and {poor, rich} <= set(OF_A_ROW)
    ]
    for name in table.by_name:
        optimum, amortized = (
            table.of(name, lambda one: one.optimum),
            table.of(name, lambda one: one.amortized),
        )
        log_prob = table.of(name, table.log_prob)
        claims += [
            Claim(f"the best {name} of a row", "its guide", crossed_mean(optimum - amortized)),
            Claim("log p(x)", f"the best {name} of a row", crossed_mean(log_prob - optimum)),
            Claim("log p(x)", name, crossed_mean(log_prob - amortized)),
        ]
    return claims


def _elbo(one: MeasuredGuide) -> Tensor:
    return one.likelihood.elbo


def _best_known(measured: Sequence[MeasuredGuide]) -> Tensor:
    """Return the largest estimate for each chosen row, selected after subtracting four standard errors, shape (R,)."""
    values = torch.stack([v for m in measured for v in (m.likelihood.value[m.chosen], m.log_prob)])
    errors = torch.stack([e for m in measured for e in (m.likelihood.se[m.chosen], m.log_prob_se)])
    return values.gather(0, (values - 4 * errors).argmax(0, keepdim=True)).squeeze(0)
