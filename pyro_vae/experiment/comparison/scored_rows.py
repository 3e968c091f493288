"""log p(x) of some rows of a split, for the end of a run."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from pyro_vae.data import Split
from pyro_vae.evaluate import LogLikelihood, log_likelihood
from pyro_vae.processes import SINGLE_PROCESS, Processes

__all__ = ["SCORED_ROWS", "SCORED_SAMPLES", "score_rows", "score_some", "scores_summary"]

SCORED_ROWS, SCORED_SAMPLES = 1000, 1000
"""Rows whose log p(x) is estimated at the end of a run, and samples for each; `pyro-vae evaluate` does all rows."""


def score_rows(
    model: nn.Module,
    guide: nn.Module,
    split: Split,
    device: torch.device | str = "cpu",
    processes: Processes = SINGLE_PROCESS,
    *,
    num_rows: int = SCORED_ROWS,
    progress: bool = False,
) -> LogLikelihood:
    """Estimate log p(x) by importance sampling (1000 samples) on at most `num_rows` evenly spaced rows of a split.

    Args:
        model: A Pyro program.
        guide: Its guide.
        split: The split; rows are taken under their fixed draw.
        device: Device of the programs.
        processes: Processes that share the rows.
        num_rows: Largest number of rows.
        progress: Whether to show a progress bar on stderr.

    Returns:
        The estimate for each row of `split.evenly_spaced(num_rows)`, of all processes.
    """
    rows = tuple(part.to(device) for part in split.evenly_spaced(num_rows).share(processes).tensors())
    own = log_likelihood(model, guide, rows, SCORED_SAMPLES, seed=processes.seed(0), progress=progress)
    columns = processes.gather(torch.stack(own.columns(), dim=1)).T
    return LogLikelihood.from_columns(columns, own.num_samples)


def score_some(model: nn.Module, guide: nn.Module, split: Split) -> dict[str, Any]:
    """Return `scores_summary` of `score_rows`."""
    return scores_summary(score_rows(model, guide, split))


def scores_summary(estimate: LogLikelihood) -> dict[str, Any]:
    """Return `LogLikelihood.summary()`, the number of rows, and the mean ELBO of the same samples; nats per example."""
    return estimate.summary() | {"num_examples": len(estimate), "elbo_mean": float(estimate.elbo.mean())}
