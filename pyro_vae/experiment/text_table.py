"""Numbers and tables as text."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from pyro_vae.data import DataSet, units
from pyro_vae.evaluate.scores import TOLERATED_SHARE

__all__ = ["bits_cells", "bits_per_dim", "format_table", "likelihood_line", "nats"]

LARGE = 1e7
"""Size from which a number of nats is written with an exponent."""


def format_table(rows: Sequence[Sequence[str]]) -> str:
    """Return rows of text as an aligned table, the first row as its header, the first column to the left.

    rich takes 53 ms to import and 8 ms for a table of 15 rows, wraps at the terminal's width and is not a dependency;
    `pandas.DataFrame.to_string` (1.4 ms) neither aligns the first column to the left nor draws the line. This takes
    0.04 ms, and terminal and file get the same characters.
    """
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def nats(value: float, decimals: int = 2) -> str:
    """Return a number of nats with some decimals, or with three digits if it is too large for a table."""
    return f"{value:.3g}" if abs(value) >= LARGE else f"{value:.{decimals}f}"


def bits_per_dim(elbo: float, data_dim: int, levels: int) -> float:
    """Return a bound on the bits per dimension of integers from a bound on their dequantized density.

    -(elbo / data_dim - log(levels)) / log 2 (Theis, van den Oord & Bethge 2016, section 3.1).

    Args:
        elbo: Nats per example of x in [0, 1).
        data_dim: Size of one row.
        levels: Number of integer levels.
    """
    return (math.log(levels) - elbo / data_dim) / math.log(2)


def bits_cells(log_prob: float, dataset: DataSet) -> list[str]:
    """Return nats per example in bits per dimension, as tables show them; empty if x is not made of integers."""
    bits = units.bits_per_dim(log_prob, dataset.data_dim, dataset.preprocessing)
    return [] if bits is None else [f"{bits:.3f}"]


def likelihood_line(likelihood: Mapping[str, Any]) -> str:
    """Return the importance-sampling estimate of log p(x), and whether it is reliable.

    Args:
        likelihood: Result of `comparison.score_some`.
    """
    unreliable = likelihood["khat_above_0.7"]
    return (
        f"log p(x) of {likelihood['num_examples']} test rows by importance sampling, K = {likelihood['num_samples']}: "
        f"{nats(likelihood['mean'])} ± {nats(likelihood['se'])} (their ELBO {nats(likelihood['elbo_mean'])}); "
        f"k-hat above 0.7 for {unreliable:.0%}"
        + ("" if unreliable <= TOLERATED_SHARE else ", so rather a lower bound")
    )
