"""Inequalities between guides that hold in theory, checked on their measurements."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pyro_vae.experiment.comparison.guide_scores import GuideTable, Mean, crossed_mean, elbo_of, optimum_of
from pyro_vae.experiment.comparison.guides import MeasuredGuide

__all__ = ["CONTAINED", "Claim", "check_order"]

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


def check_order(measured: Sequence[MeasuredGuide], *, joint: bool = False) -> list[Claim]:
    """Check the inequalities between guides, their families and log p(x), on paired differences.

    The ELBO of a guide is not below that of a guide that it contains; the same holds for the best members of their
    families for a row. The best member is not below the guide, and neither is above log p(x).

    Args:
        measured: Measurements, see `score_guides`.
        joint: Whether each guide has its own model; families are then not compared row by row.
    """
    table = GuideTable(measured, joint)
    bounds = [claim for name in table.by_name for claim in _claims_of_bounds(table, name)]
    return _claims_of_containment(table, joint) + bounds


def _claims_of_containment(table: GuideTable, joint: bool) -> list[Claim]:
    """Return the claims that a guide, and the best members of its family, are not below those that it contains."""
    pairs = [(poor, rich) for poor, rich in CONTAINED if {poor, rich} <= set(table.by_name)]
    guides = [
        Claim(
            rich,
            f"{poor}, which it contains",
            table.difference(rich, poor, elbo_of),
            table.difference(rich, poor, lambda one: one.train_elbo),
        )
        for poor, rich in pairs
    ]
    members = [
        Claim(f"the best {rich} of a row", f"the best {poor}", table.difference(rich, poor, optimum_of))
        for poor, rich in pairs
        if not joint and {poor, rich} <= set(OF_A_ROW)
    ]
    return guides + members


def _claims_of_bounds(table: GuideTable, name: str) -> list[Claim]:
    """Return the claims that a guide is not above the best member of its family, and neither is above log p(x)."""
    optimum, amortized = table.of(name, optimum_of), table.of(name, lambda one: one.amortized)
    log_prob = table.of(name, table.log_prob)
    return [
        Claim(f"the best {name} of a row", "its guide", crossed_mean(optimum - amortized)),
        Claim("log p(x)", f"the best {name} of a row", crossed_mean(log_prob - optimum)),
        Claim("log p(x)", name, crossed_mean(log_prob - amortized)),
    ]
