"""Results of importance sampling for each row and for a data set."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pyro_vae.evaluate.pareto_k import SHORTEST_TAIL, tail_length
from pyro_vae.objectives.unscored import unscored_message, unscored_part
from pyro_vae.statistics import mean_and_se, se_of_mean

__all__ = ["LogLikelihood"]

RELIABLE_KHAT = 0.7
"""Above this, more samples reduce the error too slowly to be worth their cost (Vehtari et al. 2024)."""
TOLERATED_SHARE = 0.05
"""Maximum share of rows with a larger k-hat without a warning."""


@dataclass(frozen=True)
class LogLikelihood:
    """Log p(x) of each row, estimated by importance sampling; every tensor float64 of shape (N,).

    Args:
        value: The estimate `log((1 / K) sum_k w_k)`, nats: in expectation below log p(x), by about `se^2 / 2`
            if the weights' variance is finite. NaN or minus infinity for a row that could not be scored.
        se: Its Monte Carlo standard error by the delta method, nats.
        ess: Effective number of samples `(sum w)^2 / sum w^2`, from 1 to K; 0 if all weights are zero.
        khat: Pareto tail index of the weights; NaN for too few samples.
        elbo: The mean log weight, an estimate of the row's ELBO from the same samples, nats.
        num_samples: K, samples of z for each row.
    """

    value: Tensor
    se: Tensor
    ess: Tensor
    khat: Tensor
    elbo: Tensor
    num_samples: int

    @classmethod
    def from_columns(cls, columns: Tensor, num_samples: int) -> LogLikelihood:
        """Return the estimate whose `columns` are those of a tensor of shape (5, N)."""
        value, se, ess, khat, elbo = columns
        return cls(value, se, ess, khat, elbo, num_samples)

    def columns(self) -> tuple[Tensor, ...]:
        """Return value, se, ess, khat and elbo, each of shape (N,)."""
        return self.value, self.se, self.ess, self.khat, self.elbo

    def __len__(self) -> int:
        return len(self.value)

    @property
    def scored(self) -> LogLikelihood:
        """The estimate of the rows with a finite value."""
        finite = self.value.isfinite()
        return LogLikelihood.from_columns(torch.stack(self.columns())[:, finite], self.num_samples)

    @property
    def mean(self) -> float:
        """Mean over rows, nats per example; NaN or minus infinity if a row has it (see `scored`)."""
        return float(self.value.mean())

    @property
    def monte_carlo_se(self) -> float:
        """Standard error of the mean for these rows, from the samples of z; NaN for one sample a row."""
        return se_of_mean(self.se)

    @property
    def rows_se(self) -> float:
        """Standard error of the mean for new rows, from the spread of log p(x) over rows; NaN for one row."""
        return math.sqrt(max(self.mean_se**2 - self.monte_carlo_se**2, 0.0))

    @property
    def mean_se(self) -> float:
        """Standard error of the mean from the spread of the estimates, which includes both errors; NaN for one row."""
        return mean_and_se(self.value)[1]

    @property
    def bias(self) -> float:
        """Approximate amount by which the mean is too low, by Jensen's inequality: `mean(se^2) / 2`, nats."""
        return float(self.se.square().mean() / 2)

    @property
    def share_unreliable(self) -> float:
        """Share of rows with k-hat above 0.7; NaN for too few samples."""
        too_few = tail_length(self.num_samples) < SHORTEST_TAIL
        return math.nan if too_few else float((self.khat > RELIABLE_KHAT).double().mean())

    @property
    def warning(self) -> str | None:
        """Reasons why the estimate may be unreliable, or None."""
        zero, unknown = self.value == -math.inf, self.khat.isnan() & ~self.value.isnan()
        unscored = unscored_message(self.value)
        messages = [unscored] if unscored else []
        if zero.any():
            messages.append(
                f"For {int(zero.sum())} of {len(self)} rows every weight is zero, so their estimate is -inf: the "
                "guide samples where the model has no support, or log p(x | z) overflows."
            )
        if math.isnan(self.share_unreliable):
            messages.append(
                f"{self.num_samples} samples a row are too few for k-hat, which is NaN: at least 21 are needed, "
                "and 1000 are recommended."
            )
        elif (unknown & ~zero).any():
            messages.append(
                f"For {int((unknown & ~zero).sum())} of {len(self)} rows k-hat is NaN: fewer than {SHORTEST_TAIL} "
                "of their largest weights differ."
            )
        if self.share_unreliable > TOLERATED_SHARE:
            messages.append(
                f"k-hat is above {RELIABLE_KHAT} for {self.share_unreliable:.0%} of the rows: their estimates are too "
                "low by more than their standard errors. Take a wider proposal (WidenedGuide, DefensiveGuide), "
                "more samples, or annealed importance sampling."
            )
        return " ".join(messages) or None

    def summary(self) -> dict[str, Any]:
        """Return the numbers of the data set by their names in `summary.json`; nats per example."""
        return {
            "mean": self.mean,
            "se": self.mean_se,
            "monte_carlo_se": self.monte_carlo_se,
            "num_samples": self.num_samples,
            "ess_median": float(self.ess.median()),
            "khat_above_0.7": self.share_unreliable,
        }

    def __repr__(self) -> str:
        return (
            f"LogLikelihood({self.mean:.2f} ± {self.mean_se:.2f} nats per example (Monte Carlo ± "
            f"{self.monte_carlo_se:.2g}), {len(self)} rows, {self.num_samples} samples a row, "
            f"k-hat > {RELIABLE_KHAT} for {self.share_unreliable:.0%}{unscored_part(self.value)})"
        )
