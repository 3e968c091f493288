"""The points of latent space in a report: coordinates, colours and row details."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from pyro_vae.experiment.report.charts import latent_chart
from pyro_vae.experiment.report.colours import LEVEL_COLOURS, SCALE, colourings, first_colouring
from pyro_vae.experiment.report.pictures import data_uris
from pyro_vae.experiment.report.rows import ShownRows
from pyro_vae.experiment.report.values import column_levels, column_names, texts
from pyro_vae.experiment.shown import Shown

__all__ = ["heads_of", "pictures_of", "points_and_chart"]

PICTURES = 2_000_000
"""Maximum size of the pictures of all points in bytes."""
SMALLEST, SMALL = 32, 48
"""Longer side of a picture in pixels: reduced, if all pictures together are too large, and normal."""


def points_and_chart(shown: Shown, rows: ShownRows) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the data of the points for the page's script, and their chart."""
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
        "heads": heads_of(shown, rows),
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
        points["images"] = _small(shown, rows.images)
    return points, latent_chart(axes[first], axes[second], (first, second))


def _small(shown: Shown, images: Sequence[Tensor]) -> list[list[str]]:
    """Return small pictures of rows and of their reconstructions, reduced further if they exceed the size limit."""
    for longest in (SMALL, SMALLEST):
        pictures = [pictures_of(shown, part, longest) for part in images]
        size = sum(len(one) for part in pictures for one in part)
        if size <= PICTURES:
            return pictures
    share = PICTURES / size
    kept = [int(share * (number + 1)) > int(share * number) for number in range(len(pictures[0]))]
    return [[one if keep else "" for one, keep in zip(part, kept, strict=True)] for part in pictures]


def _short(value: float) -> float | None:
    return float(f"{value:.5g}") if np.isfinite(value) else None


def heads_of(shown: Shown, rows: ShownRows) -> list[list[tuple[str, str]]]:
    """Return the details of each row, shown above its entries: name and text."""
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


def _shape(shown: Shown) -> tuple[int, ...]:
    whole = shown.dataset.whole
    return shown.dataset.data_shape if whole is None or shown.dataset.is_image else whole.data_shape


def pictures_of(shown: Shown, images: Tensor, longest: int) -> list[str]:
    """Return complete images of a run as `data:` URIs."""
    return data_uris(images, _shape(shown), shown.value_range, longest)
