"""Results of the decomposition, per row with errors."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from pyro_vae.objectives.unscored import unscored_message
from pyro_vae.statistics import mean_and_se, se_of_mean

__all__ = ["InferenceGaps", "RowEstimate"]


@dataclass(frozen=True)
class RowEstimate:
    """A quantity of each row with its Monte Carlo standard error, both of shape (N,), float64, nats."""

    value: Tensor
    se: Tensor

    @classmethod
    def joined(cls, parts: Sequence[RowEstimate]) -> RowEstimate:
        """Concatenate several estimates, on the CPU."""
        return cls(
            torch.cat([part.value.cpu() for part in parts]), torch.cat([part.se.cpu() for part in parts])
        )

    def chosen(self, rows: Tensor) -> RowEstimate:
        """Return the estimate of the rows in a mask of shape (N,)."""
        return RowEstimate(self.value[rows], self.se[rows])

    def without(self, rows: Tensor) -> RowEstimate:
        """Return the estimate with NaN for the rows in a mask of shape (N,)."""
        return RowEstimate(self.value.masked_fill(rows, math.nan), self.se.masked_fill(rows, math.nan))

    @property
    def mean(self) -> float:
        """Mean over rows."""
        return float(self.value.mean())

    @property
    def mean_se(self) -> float:
        """Standard error of the mean over rows, including Monte Carlo error; NaN for one row."""
        return mean_and_se(self.value)[1]

    @property
    def monte_carlo_se(self) -> float:
        """Monte Carlo standard error of the mean."""
        return se_of_mean(self.se)


@dataclass(frozen=True)
class InferenceGaps:
    """log p(x), the bounds below it, and the differences; every entry a `RowEstimate` in nats.

    Args:
        log_prob: The best estimate of log p(x).
        full_covariance: ELBO of the best full-covariance Gaussian for each row.
        diagonal: ELBO of the best diagonal Gaussian for each row.
        own_family: ELBO of the best member of the guide's family for each row; None if the guide has no `encoder` whose
            outputs parametrize the family.
        amortized: ELBO of the guide.
        approximation_gap: `log_prob - own_family`: loss due to the family. None if `own_family` is None.
        amortization_gap: `own_family - amortized`: loss due to the encoder. None if `own_family` is None.
        inference_gap: `log_prob - amortized`, the sum of the two.
    """

    log_prob: RowEstimate
    full_covariance: RowEstimate
    diagonal: RowEstimate
    own_family: RowEstimate | None
    amortized: RowEstimate
    approximation_gap: RowEstimate | None
    amortization_gap: RowEstimate | None
    inference_gap: RowEstimate

    def each(self, change: Callable[[RowEstimate], RowEstimate]) -> InferenceGaps:
        """Return the gaps with `change` applied to every entry."""
        entries = {f.name: getattr(self, f.name) for f in fields(self)}
        return InferenceGaps(**{name: entry and change(entry) for name, entry in entries.items()})

    @property
    def scored(self) -> InferenceGaps:
        """The gaps of scored rows."""
        finite = self.inference_gap.value.isfinite()
        return self.each(lambda entry: entry.chosen(finite))

    @property
    def warning(self) -> str | None:
        """A message about rows that could not be scored, or None."""
        return unscored_message(self.inference_gap.value)

    def summary(self) -> dict[str, dict[str, float] | None]:
        """Return means, standard errors and Monte Carlo standard errors by name, nats per example."""
        entries = {f.name: getattr(self, f.name) for f in fields(self)}
        return {
            name: entry and {"mean": entry.mean, "se": entry.mean_se, "monte_carlo_se": entry.monte_carlo_se}
            for name, entry in entries.items()
        }

    def table(self) -> str:
        """Return the means as lines of text."""
        lines = [f"{'nats per example':<20}{'mean':>10}{'± rows':>10}{'± sampling':>12}"]
        for name, entry in self.summary().items():
            text = name.replace("_", " ")
            if entry is None:
                lines.append(f"{text:<20}{'unknown':>10}")
            else:
                lines.append(
                    f"{text:<20}{entry['mean']:>10.3f}{entry['se']:>10.3f}{entry['monte_carlo_se']:>12.4f}"
                )
        if self.own_family is None:
            lines.append(
                "The guide has no `encoder` whose outputs parametrize a family, so its gap is not decomposed."
            )
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"InferenceGaps({len(self.log_prob.value)} rows)\n{self.table()}"
