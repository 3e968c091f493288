"""Results of annealing: bounds on log p(x) of each row, with errors."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from scipy.special import stdtrit
from torch import Tensor

from pyro_vae._checks import check
from pyro_vae.objectives.unscored import unscored_message, unscored_part
from pyro_vae.statistics import mean_and_se, se_of_mean

__all__ = ["AnnealedLogLikelihood", "BidirectionalBounds"]


@dataclass(frozen=True)
class BidirectionalBounds:
    """`lower <= log p(x) <= upper` in expectation, on rows drawn from the model.

    Args:
        lower: Bound by annealing towards the posterior, shape (N,), float64, nats.
        lower_se: Its Monte Carlo standard error over the chains, shape (N,).
        upper: Bound by annealing away from the posterior, shape (N,), float64, nats.
        upper_se: Its standard error, shape (N,); too small if chains mix slowly, see `bidirectional_bounds`.
        num_chains: Number of chains per row, from which errors are computed.
        data: The drawn rows, with labels if there are any.
    """

    lower: Tensor
    lower_se: Tensor
    upper: Tensor
    upper_se: Tensor
    num_chains: int
    data: tuple[Tensor, ...] = field(repr=False)

    def interval(self, level: float = 0.99) -> tuple[Tensor, Tensor]:
        """Return the ends, each (N,), of an interval that contains log p(x) with at least this probability.

        Each bound is moved outwards by its standard error times the quantile of Student's t at `(1 + level) / 2`. The
        bias of the bounds also points outwards, so coverage exceeds `level` if annealing is too fast.

        Args:
            level: Probability, between 0 and 1.

        Raises:
            InputError: If the level is out of range.
        """
        check(0 < level < 1, f"Expected 0 < level < 1; got {level!r}.")
        quantile = float(stdtrit(self.num_chains - 1, (1 + level) / 2))
        return self.lower - quantile * self.lower_se, self.upper + quantile * self.upper_se

    @property
    def width(self) -> Tensor:
        """Width of the 99 % interval, shape (N,), nats."""
        low, high = self.interval()
        return high - low

    def summary(self) -> dict[str, float]:
        """Return means over the rows by name, nats per example."""
        return {
            "lower": float(self.lower.mean()),
            "upper": float(self.upper.mean()),
            "upper_minus_lower": float((self.upper - self.lower).mean()),
            "interval_width": float(self.width.mean()),
            "num_rows": len(self.lower),
        }


@dataclass(frozen=True)
class AnnealedLogLikelihood:
    """log p(x) of each row by annealed importance sampling: a lower bound in expectation.

    Args:
        value: Shape (N,), float64, nats.
        se: Monte Carlo standard error over the chains, shape (N,).
        accept_rate: Mean acceptance probability of the transitions, shape (N,).
        simulated: The same annealing in both directions on rows drawn from the model, or None. The width of their
            interval is a check of the settings, and not a bound for other rows.
    """

    value: Tensor
    se: Tensor
    accept_rate: Tensor
    simulated: BidirectionalBounds | None = None

    @property
    def scored(self) -> AnnealedLogLikelihood:
        """The estimate of the rows with a finite value."""
        finite = self.value.isfinite()
        return replace(
            self, value=self.value[finite], se=self.se[finite], accept_rate=self.accept_rate[finite]
        )

    @property
    def warning(self) -> str | None:
        """A message about rows that could not be scored, or None."""
        return unscored_message(self.value)

    @property
    def mean(self) -> float:
        """Mean over rows, nats per example."""
        return float(self.value.mean())

    @property
    def mean_se(self) -> float:
        """Standard error of the mean, from the spread over rows; NaN for one row."""
        return mean_and_se(self.value)[1]

    @property
    def monte_carlo_se(self) -> float:
        """Monte Carlo standard error of the mean, which more chains would reduce."""
        return se_of_mean(self.se)

    def summary(self) -> dict[str, Any]:
        """Return the figures by name, nats per example; "simulated_rows" is a check and not a bound."""
        figures: dict[str, Any] = {
            "mean": self.mean,
            "se": self.mean_se,
            "monte_carlo_se": self.monte_carlo_se,
            "accept_rate": float(self.accept_rate.mean()),
            "num_rows": len(self.value),
        }
        return figures | ({"simulated_rows": self.simulated.summary()} if self.simulated else {})

    def __repr__(self) -> str:
        text = f"log p(x) >= {self.mean:.2f} ± {self.mean_se:.2f} nats per example, {len(self.value)} rows"
        if self.simulated:
            gap = self.simulated.summary()["upper_minus_lower"]
            text += f"; check, not a bound: on simulated rows the two directions are {gap:.2f} nats apart"
        return f"AnnealedLogLikelihood({text}{unscored_part(self.value)})"
