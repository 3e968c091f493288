"""The table of a scoring, and the notes on it."""

from __future__ import annotations

import math

from pyro_vae.data import Split
from pyro_vae.data.units import bits_per_dim
from pyro_vae.evaluate import LogLikelihood
from pyro_vae.evaluate.scores import RELIABLE_KHAT
from pyro_vae.experiment.scoring.checks import Checks, table_line
from pyro_vae.experiment.text_table import format_table, nats

__all__ = ["known_scores", "scores_table"]

SHOWN = 5
"""Number of least likely rows that are listed."""


def known_scores(scores: LogLikelihood) -> LogLikelihood:
    """Return the scores of the rows that could be scored, or all if none could."""
    return scores.scored if len(scores.scored) else scores


def scores_table(scores: LogLikelihood, checks: Checks, split: Split) -> list[str]:
    """Return the lines of the table, and the notes on it.

    Args:
        scores: Scores of all rows.
        checks: Checks on fewer rows.
        split: The rows.
    """
    known, samples = known_scores(scores), scores.num_samples
    rows = [
        ["estimate", "rows", "mean", "± se", "± Monte Carlo"],
        table_line("ELBO", known.elbo, None),
        table_line(f"log p(x), importance sampling, K = {samples}", known.value, known.monte_carlo_se),
        *checks.lines(scores),
    ]
    least = scores.value.argsort()[:SHOWN].tolist()
    notes = [
        format_table(rows),
        f"effective samples of {samples}: median {known.ess.median():.0f}, least {known.ess.min():.0f}"
        + _khat(known.share_unreliable),
        "least likely rows: " + ", ".join(f"{row} ({nats(float(scores.value[row]), 1)})" for row in least),
    ]
    bits = bits_per_dim(known.mean, split.data_dim, split.preprocessing)
    by_elbo = bits_per_dim(float(known.elbo.mean()), split.data_dim, split.preprocessing)
    if bits is not None:
        notes.append(f"bits per dimension: {bits:.3f} by log p(x), {by_elbo:.3f} by the ELBO")
    if scores.warning:
        notes.append(f"warning: {scores.warning}")
    return notes + _on_fewer_rows(checks)


def _khat(share: float) -> str:
    """Return a line on the k-hat values of the rows; empty if there were too few samples."""
    return "" if math.isnan(share) else f"; k-hat above {RELIABLE_KHAT} for {share:.1%} of the rows"


def _on_fewer_rows(checks: Checks) -> list[str]:
    """Return the notes on the checks, in addition to their lines of the table."""
    notes = []
    if checks.annealed is not None and checks.annealed.simulated is not None:
        drawn = checks.annealed.simulated
        notes.append(
            f"annealing's 99 % interval is {drawn.width.mean():.2f} nats wide on {len(drawn.lower)} rows that "
            "the model drew, where both bounds are known: a check, and no bound for these rows"
        )
    if checks.gaps is not None:
        notes += ["", checks.gaps.scored.table()]
    return notes
