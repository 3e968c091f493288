"""Writing of a run's report from its folder, programs and rows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from pyro_vae._checks import check
from pyro_vae.experiment.comparison import scores_summary
from pyro_vae.experiment.config import Config, to_json
from pyro_vae.experiment.opening_lines import opening_lines
from pyro_vae.experiment.report import numbers
from pyro_vae.experiment.report.charts import curves
from pyro_vae.experiment.report.page import render
from pyro_vae.experiment.report.points import points_and_chart
from pyro_vae.experiment.report.rows import ShownRows, shown_rows
from pyro_vae.experiment.report.steps_and_ranks import ranked_by, ranked_rows, slider_steps
from pyro_vae.experiment.report.values import MOST_COLUMNS
from pyro_vae.experiment.run_folder import RunFolder
from pyro_vae.experiment.shown import Shown
from pyro_vae.storage import write_atomically

__all__ = ["LARGEST", "write_report"]

LARGEST = 5_000_000
"""Maximum size of a report in bytes."""


def write_report(folder: RunFolder, shown: Shown, config: Config, out: Path | None = None) -> Path:
    """Write the report of a run and return its path.

    Args:
        folder: The run folder, with its `summary.json` and `metrics.jsonl`.
        shown: The programs and rows of the run.
        config: The resolved configuration.
        out: The file to write; by default `report.html` in the run folder.

    Raises:
        InputError: If the page would be too large.
        StorageError: If it cannot be written.
    """
    out = out or folder.report
    page = render(_values(folder, shown, config))
    size = len(page.encode())
    check(size <= LARGEST, f"Expected a report of at most {LARGEST} bytes; {out} would take {size}.")
    with write_atomically(out) as path:
        path.write_text(page, encoding="utf-8")
    return out


def _values(folder: RunFolder, shown: Shown, config: Config) -> dict[str, Any]:
    """Return the values for the template."""
    summary, history = _read(folder.summary), list(_lines(folder.metrics))
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(0)
        rows = shown_rows(shown)
        points, chart = points_and_chart(shown, rows)
        slider = slider_steps(shown, rows)
        groups = ranked_rows(shown, rows)
    if shown.given_scores is not None and not summary.get("log_likelihood"):
        summary["log_likelihood"] = scores_summary(shown.given_scores)
    closing = summary.get("closing") or {"title": "", "cells": [], "lines": []}
    opened = opening_lines(config, replace(shown.dataset, kinds=()), folder.path)
    values = {
        "name": Path(shown.dataset.name).stem,
        "title": closing["title"] or f"{shown.dataset.description}; {config.model.likelihood} likelihood",
        "settings": [(line[:10].strip(), line[11:]) for line in opened],
        "kinds": "\n".join(shown.dataset.kinds),
        "config": json.dumps(to_json(config), indent=2),
        "closing": closing,
        "tiles": numbers.tiles(summary),
        "baselines": numbers.compared(summary),
        "curves": curves(history, summary.get("best_epoch")),
        "latent": chart,
        "points": points,
        "slider": slider,
        "ranked": groups,
        "ranked_by": ranked_by(rows),
        "scored": _scored(shown, rows),
        "columns": points["columns"],
    }
    said = [values[name] for name in ("closing", "tiles", "baselines", "ranked_by", "scored")]
    said.append([one["name"] for one in points["colourings"]])
    return values | {"readings": numbers.readings(json.dumps(said, ensure_ascii=False))}


def _read(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError:
        return
    for line in text.splitlines():
        try:
            yield json.loads(line)
        except ValueError:  # the last line may be truncated by an interruption
            return


def _scored(shown: Shown, rows: ShownRows) -> str:
    """Return a description of the rows in the scatter plot."""
    counts = {name: rows.splits.count(name) for name in dict.fromkeys(rows.splits)}
    description = ", ".join(f"{count} {name} rows" for name, count in counts.items())
    sentences = [f"{description}, evenly spaced in their splits."]
    if rows.scores:
        samples = shown.scores[1].num_samples
        sentences.append(f"log p(x) is of the test rows alone, by importance sampling with K = {samples}.")
    if rows.images is None and shown.dataset.data_dim > MOST_COLUMNS:
        sentences.append(f"The first {MOST_COLUMNS} of {shown.dataset.data_dim} columns are shown.")
    return " ".join(sentences)
