"""Checks of importance sampling by more expensive methods on fewer rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from pyro_vae.evaluate import AnnealedLogLikelihood, LogLikelihood
from pyro_vae.evaluate.gaps import InferenceGaps
from pyro_vae.experiment.text_table import nats
from pyro_vae.statistics import mean_and_se, se_of_mean

__all__ = ["Checks", "table_line"]


@dataclass(frozen=True)
class Checks:
    """The results of the additional checks on fewer rows.

    Args:
        rows: Indices of the rows, shape (M,).
        annealed: log p(x) by annealing, or None.
        gaps: The parts of the gap between ELBO and log p(x), or None.
    """

    rows: Tensor
    annealed: AnnealedLogLikelihood | None
    gaps: InferenceGaps | None

    def lines(self, scores: LogLikelihood) -> list[list[str]]:
        """Return the lines of the table: annealing, and importance sampling on the same rows."""
        if self.annealed is None:
            return []
        rows, annealed, same = self._scored_rows(self.annealed, scores)
        errors = scores.se[rows]
        return [
            table_line("log p(x) by annealing", annealed, self.annealed.scored.monte_carlo_se),
            table_line("importance sampling on those rows", same, se_of_mean(errors)),
            table_line("annealing minus importance sampling", annealed - same, None),
        ]

    def _scored_rows(
        self, annealed: AnnealedLogLikelihood, scores: LogLikelihood
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the rows that both estimates could score, and the values of both there."""
        finite = annealed.value.isfinite() & scores.value[self.rows].isfinite()
        rows = self.rows[finite]
        return rows, annealed.value[finite], scores.value[rows]

    def summary(self, scores: LogLikelihood) -> dict[str, Any]:
        """Return the numbers by name, nats per example."""
        found: dict[str, Any] = {}
        if self.annealed is not None:
            _, annealed, same = self._scored_rows(self.annealed, scores)
            mean, se = mean_and_se(annealed - same)
            beside = {"minus_importance_sampling": {"mean": mean, "se": se}}
            found["annealing"] = self.annealed.scored.summary() | beside
        if self.gaps is not None:
            gaps = self.gaps.scored
            found["gaps"] = gaps.summary() | {"num_rows": len(gaps.inference_gap.value)}
        return found


def table_line(name: str, values: Tensor, monte_carlo: float | None) -> list[str]:
    """Return a line of the table: name, rows, mean, its standard error over rows and that of Monte Carlo, if any."""
    text = "" if monte_carlo is None else f"{monte_carlo:.2g}"
    return [name, str(len(values)), *map(nats, mean_and_se(values)), text]
