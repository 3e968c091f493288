"""A run's report: gathered from its folder, its programs and its rows, and written as one file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pyro_vae._checks import check
from pyro_vae.experiment.comparison import told_scores
from pyro_vae.experiment.config import Config, to_json
from pyro_vae.experiment.opening_lines import opening_lines
from pyro_vae.experiment.report import numbers
from pyro_vae.experiment.report.charts import curves, latent_chart
from pyro_vae.experiment.report.colours import LEVEL_COLOURS, SCALE, colourings, first_colouring
from pyro_vae.experiment.report.page import render
from pyro_vae.experiment.report.pictures import data_uris
from pyro_vae.experiment.report.rows import ShownRows, shown_rows, whole_images
from pyro_vae.experiment.report.traversals import traversals
from pyro_vae.experiment.report.values import MOST_COLUMNS, column_levels, column_names, texts
from pyro_vae.experiment.run_folder import RunFolder
from pyro_vae.experiment.shown import Shown
from pyro_vae.plots import ranked
from pyro_vae.storage import write_atomically

__all__ = ["LARGEST", "write_report"]

LARGEST = 5_000_000
"""Bytes that a report takes at most."""
PICTURES = 2_000_000
"""Bytes of the pictures of the scatter's rows at most."""
SMALLEST, SMALL, LARGE = 32, 48, 96
"""Pixels of the longer side of a picture of the scatter's (where they take too much, and else), and of the others."""
RANKED = 10


def write_report(folder: RunFolder, shown: Shown, config: Config, out: Path | None = None) -> Path:
    """Write the report of a run and return its path.

    Args:
        folder: Of the run, with its `summary.json` and `metrics.jsonl`.
        shown: Its programs and rows.
        config: Resolved.
        out: The file; `report.html` in the folder where None.

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
    """Return what the template shows, as plain values."""
    summary, history = _read(folder.summary), list(_lines(folder.metrics))
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(0)
        rows = shown_rows(shown)
        points, chart = _points(shown, rows)
        slider = _slider(shown, rows)
        groups = _ranked(shown, rows)
    if shown.given_scores is not None and not summary.get("log_likelihood"):
        summary["log_likelihood"] = told_scores(shown.given_scores)
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
        "ranked_by": _ranked_by(rows),
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
    for line in text[: text.rfind("\n") + 1].splitlines():
        yield json.loads(line)


def _shape(shown: Shown) -> tuple[int, ...]:
    whole = shown.dataset.whole
    return shown.dataset.data_shape if whole is None or shown.dataset.is_image else whole.data_shape


def _pictures(shown: Shown, images: Tensor, longest: int) -> list[str]:
    return data_uris(images, _shape(shown), shown.value_range, longest)


def _points(shown: Shown, rows: ShownRows) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what the page's script knows of the points, and their chart."""
    axes = dict(rows.codes)
    axes |= {name: values for name, values in rows.scores.items() if name == "log p(x)"}
    axes |= dict([rows.error]) if rows.error is not None else {}
    if len(axes) == 1:
        axes["row"] = np.arange(len(rows), dtype=float)
    first, second = list(axes)[:2]
    colours = colourings(rows, shown.dataset)
    points: dict[str, Any] = {
        "axes": {name: [_short(value) for value in values] for name, values in axes.items()},
        "colourings": colours,
        "first": first_colouring(colours),
        "scale": SCALE,
        "levels": LEVEL_COLOURS,
        "heads": _heads(shown, rows),
        "columns": [],
        "cells": [],
        "images": [],
    }
    if rows.images is None:
        levels = column_levels(shown.dataset)
        points["columns"] = column_names(shown.dataset)
        points["cells"] = [
            texts(rows.x.numpy(), levels),
            texts(rows.means.numpy(), levels, means=True),
        ]
    else:
        points["images"] = _small_pictures(shown, rows.images)
    return points, latent_chart(axes[first], axes[second], (first, second))


def _small_pictures(shown: Shown, images: Sequence[Tensor]) -> list[list[str]]:
    """Return small pictures of rows and of their reconstructions, smaller where they take too much."""
    for longest in (SMALL, SMALLEST):
        pictures = [_pictures(shown, part, longest) for part in images]
        size = sum(len(one) for part in pictures for one in part)
        if size <= PICTURES:
            return pictures
    share = PICTURES / size
    kept = [int(share * (number + 1)) > int(share * number) for number in range(len(pictures[0]))]
    return [[one if keep else "" for one, keep in zip(part, kept, strict=True)] for part in pictures]


def _short(value: float) -> float | None:
    return float(f"{value:.5g}") if np.isfinite(value) else None


def _heads(shown: Shown, rows: ShownRows) -> list[list[tuple[str, str]]]:
    """Return what is said of each row above its entries: name and text."""
    names = shown.dataset.class_names
    heads: list[list[tuple[str, str]]] = []
    for number, (split, own) in enumerate(zip(rows.splits, rows.numbers, strict=True)):
        head = [("row", f"{split} row {own}")]
        if rows.labels is not None:
            label = int(rows.labels[number])
            known = names is not None and 0 <= label < len(names)
            head.append(
                ("class", str(names[label]) if known and names else "not known" if label < 0 else str(label))
            )
        heads.append(head + _scores_of(rows, number))
    return heads


def _scores_of(rows: ShownRows, number: int) -> list[tuple[str, str]]:
    found = []
    if rows.scores and np.isfinite(rows.scores["log p(x)"][number]):
        value, se, khat = (rows.scores[name][number] for name in ("log p(x)", "± se", "k-hat"))
        found.append(("log p(x)", f"{value:.2f} ± {se:.2f} nats"))
        found.append(("k-hat", f"{khat:.2f}"))
    if rows.error is not None:
        name, values = rows.error
        found.append((name, f"{values[number]:.4g}"))
    return found


def _slider(shown: Shown, rows: ShownRows) -> dict[str, Any]:
    """Return the traversals: pictures or entries of each step of each dimension."""
    dims = []
    for one in traversals(shown):
        step: dict[str, Any] = {
            "name": one.name,
            "places": one.places,
            "own": one.own,
            "images": [],
            "cells": [],
        }
        if rows.images is None:
            step["cells"] = texts(one.means.numpy(), column_levels(shown.dataset), means=True)
        else:
            whole = one.means
            if not shown.dataset.is_image:
                (given,) = shown.context_of_first_row(len(whole))
                whole = whole_images(shown, whole, given)
            step["images"] = _pictures(shown, whole, LARGE)
        dims.append(step)
    return {"dims": dims, "columns": [] if rows.images is not None else column_names(shown.dataset)}


def _ranking(rows: ShownRows) -> np.ndarray:
    if rows.scores:
        return rows.scores["log p(x)"]
    assert rows.error is not None
    of_test = np.array([split == "test" for split in rows.splits])
    return np.where(of_test, -rows.error[1], np.nan)


def _ranked_by(rows: ShownRows) -> str:
    if rows.scores:
        return "log p(x)"
    return rows.error[0] if rows.error is not None else ""


def _ranked(shown: Shown, rows: ShownRows) -> list[dict[str, Any]]:
    """Return the best and the worst test rows: heads, and pictures or entries."""
    values = _ranking(rows)
    if not np.isfinite(values).any():
        return []
    heads, groups = _heads(shown, rows), []
    levels = column_levels(shown.dataset)
    for name, chosen in ranked(values, RANKED).items():
        if name == "median":
            continue
        group: dict[str, Any] = {"name": name, "heads": [dict(heads[number]) for number in chosen]}
        group |= {"cells": [], "pairs": []}
        if rows.images is None:
            group["cells"] = texts(rows.x[chosen].numpy(), levels)
        else:
            pairs = [_pictures(shown, part[torch.from_numpy(chosen)], LARGE) for part in rows.images]
            group["pairs"] = list(zip(*pairs, strict=True))
        groups.append(group)
    return groups


def _scored(shown: Shown, rows: ShownRows) -> str:
    """Return a sentence on the rows of the scatter."""
    counts = {name: rows.splits.count(name) for name in dict.fromkeys(rows.splits)}
    told = ", ".join(f"{count} {name} rows" for name, count in counts.items())
    sentences = [f"{told}, evenly spaced in their splits."]
    if rows.scores:
        samples = shown.scores[1].num_samples
        sentences.append(f"log p(x) is of the test rows alone, by importance sampling with K = {samples}.")
    if rows.images is None and shown.dataset.data_dim > MOST_COLUMNS:
        sentences.append(f"The first {MOST_COLUMNS} of {shown.dataset.data_dim} columns are shown.")
    return " ".join(sentences)
