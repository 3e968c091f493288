"""Colourings of the points of latent space."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import to_hex
from numpy.typing import NDArray

from pyro_vae.data import DataSet
from pyro_vae.experiment.report.rows import ShownRows
from pyro_vae.experiment.report.values import column_levels, column_names
from pyro_vae.plots._canvas import CLASS_COLORS

__all__ = ["LEVEL_COLOURS", "SCALE", "colourings", "first_colouring"]

LEVEL_COLOURS = list(CLASS_COLORS)
SHADES = 64
SCALE = [to_hex(colormaps["viridis"](share)) for share in np.linspace(0, 1, SHADES)]
"""Colour scale of quantities, from low to high."""
MOST_COLUMNS = 30


def colourings(rows: ShownRows, dataset: DataSet) -> list[dict[str, Any]]:
    """Return the colourings: class, score, error, split, columns.

    Each has "name", "codes" (an index per row into the levels or into `SCALE`, -1 if missing) and either "levels" or
    "low" and "high", the values at the ends of the scale.
    """
    return list(_colourings(rows, dataset))


def first_colouring(found: Sequence[dict[str, Any]]) -> int:
    """Return the index of the initial colouring: the first, other than the split, that most rows have."""
    for number, one in enumerate(found):
        known = sum(code >= 0 for code in one["codes"])
        if one["name"] != "split" and known >= 0.9 * len(one["codes"]):
            return number
    return 0


def _colourings(rows: ShownRows, dataset: DataSet) -> Iterator[dict[str, Any]]:
    if rows.labels is not None:
        highest = int(rows.labels.max(initial=0)) + 1
        names = dataset.class_names or [str(number) for number in range(highest)]
        yield _of_levels("class", rows.labels.astype(float), names)
    for name, values in rows.scores.items():
        yield _of_numbers(name, values)
    if rows.error is not None:
        yield _of_numbers(*rows.error)
    order = list(dict.fromkeys(rows.splits))
    yield _of_levels("split", np.array([float(order.index(name)) for name in rows.splits]), order)
    if rows.images is None:
        named = zip(column_names(dataset)[:MOST_COLUMNS], column_levels(dataset), strict=False)
        for number, (name, levels) in enumerate(named):
            values = rows.x[:, number].double().numpy()
            yield _of_levels(name, values, levels) if levels else _of_numbers(name, values)


def _of_levels(name: str, values: NDArray[np.float64], levels: Sequence[str]) -> dict[str, Any]:
    codes = np.nan_to_num(values, nan=-1).astype(int).tolist()
    return {"name": name, "codes": codes, "levels": [str(level) for level in levels]}


def _of_numbers(name: str, values: NDArray[np.float64]) -> dict[str, Any]:
    """Scale from the 2 % to the 98 % quantile, so that outliers do not compress the scale."""
    finite = np.isfinite(values)
    low, high = np.quantile(values[finite], [0.02, 0.98]) if finite.any() else (0.0, 0.0)
    shares = (np.where(finite, values, low) - low) / ((high - low) or 1.0)
    codes = np.where(finite, np.clip(shares * (SHADES - 1), 0, SHADES - 1).round(), -1).astype(int)
    return {"name": name, "codes": codes.tolist(), "low": f"{low:.4g}", "high": f"{high:.4g}"}
