"""The slider steps and the best and worst rows of a report."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pyro_vae.experiment.report.points import heads_of, pictures_of
from pyro_vae.experiment.report.rows import ShownRows, whole_images
from pyro_vae.experiment.report.traversals import traversals
from pyro_vae.experiment.report.values import column_levels, column_names, texts
from pyro_vae.experiment.shown import Shown
from pyro_vae.plots import ranked

__all__ = ["ranked_by", "ranked_rows", "slider_steps"]

LONGEST, RANKED = 96, 10
"""Longer side of a picture in pixels; number of best and of worst rows."""


def slider_steps(shown: Shown, rows: ShownRows) -> dict[str, Any]:
    """Return the traversals: pictures or entries for each step of each dimension."""
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
            step["images"] = pictures_of(shown, whole, LONGEST)
        dims.append(step)
    return {"dims": dims, "columns": [] if rows.images is not None else column_names(shown.dataset)}


def _ranking(rows: ShownRows) -> NDArray[np.float64]:
    if rows.scores:
        return rows.scores["log p(x)"]
    assert rows.error is not None
    of_test = np.array([split == "test" for split in rows.splits])
    return np.where(of_test, -rows.error[1], np.nan)


def ranked_by(rows: ShownRows) -> str:
    """Return the name of the ranking score of test rows."""
    if rows.scores:
        return "log p(x)"
    return rows.error[0] if rows.error is not None else ""


def ranked_rows(shown: Shown, rows: ShownRows) -> list[dict[str, Any]]:
    """Return the best and the worst test rows: heads, and pictures or entries."""
    values = _ranking(rows)
    if not np.isfinite(values).any():
        return []
    heads, groups = heads_of(shown, rows), []
    levels = column_levels(shown.dataset)
    for name, chosen in ranked(values, RANKED).items():
        if name == "median":
            continue
        group: dict[str, Any] = {"name": name, "heads": [dict(heads[number]) for number in chosen]}
        group |= {"cells": [], "pairs": []}
        if rows.images is None:
            group["cells"] = texts(rows.x[chosen].numpy(), levels)
        else:
            pairs = [pictures_of(shown, part[torch.from_numpy(chosen)], LONGEST) for part in rows.images]
            group["pairs"] = list(zip(*pairs, strict=True))
        groups.append(group)
    return groups
