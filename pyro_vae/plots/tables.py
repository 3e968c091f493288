"""Plots of tables: marginals and pairs of columns of data and samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from pyro_vae._checks import check
from pyro_vae.evenly_spaced import evenly_spaced_rows
from pyro_vae.plots._canvas import BLUE, VERMILION, new_figure, shuffle, to_array, to_rows

MAX_MARGINALS, MAX_PAIRS, MAX_POINTS, BINS = 12, 5, 250, 30
MAX_NAMED, LONGEST, MAX_LETTERS = 8, 10, 24
"""Maximum level names on an axis, maximum letters of a name, total letters beyond which names are slanted."""
SPREAD = 0.3
"""Width of the random jitter of points with levels, in levels."""


Levels = Sequence[Sequence[str]]
"""Level names of each column; empty for a column of numbers."""


def marginals(
    data: Any,
    samples: Any,
    column_names: Sequence[str] | None = None,
    *,
    levels: Levels | None = None,
    figure: Figure | None = None,
) -> Figure:
    """Draw a histogram of each of the first twelve columns, data filled and model samples as a line.

    Args:
        data: Shape (N, D), in data units; missing entries (NaN) are left out.
        samples: Samples from the model, shape (M, D), in the same units.
        column_names: D names; `x[0]`, `x[1]`, ... by default.
        levels: Level names of each column whose entries are level indices; none by default.
        figure: Figure to draw into; a new one by default.

    Returns:
        The figure, with one panel per column.

    Raises:
        InputError: If data, samples and names differ in their number of columns.
    """
    data, samples, names = _check_table(data, samples, column_names, MAX_MARGINALS)
    columns = min(4, len(names))
    rows = -(-len(names) // columns)
    figure = new_figure(max(4.5, 2.6 * columns), 2.1 * rows + 0.5) if figure is None else figure
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for j, (ax, name) in enumerate(zip(panels, names, strict=False)):
        _histograms(ax, data[:, j], samples[:, j], _of_column(levels, j))
        ax.set_xlabel(name)
    for ax in panels[len(names) :]:
        ax.remove()
    figure.supylabel("density" if levels is None else "density, or share of a level")
    _legend(figure)
    return figure


def pair_plot(
    data: Any,
    samples: Any,
    column_names: Sequence[str] | None = None,
    *,
    levels: Levels | None = None,
    figure: Figure | None = None,
) -> Figure:
    """Draw scatter plots of each pair of the first five columns, data and model samples overlaid.

    Points of columns with levels get random jitter, so that they do not overlap.

    Args:
        data: Shape (N, D), in data units, NaN where missing; the same number of data rows and samples is drawn, at
            most 250.
        samples: Samples from the model, shape (M, D), in the same units.
        column_names: D names; `x[0]`, `x[1]`, ... by default.
        levels: Level names of each column whose entries are level indices; none by default.
        figure: Figure to draw into; a new one by default.

    Returns:
        The figure: scatters below the diagonal, histograms on it.

    Raises:
        InputError: If data, samples and names differ in their number of columns.
    """
    data, samples, names = _check_table(data, samples, column_names, MAX_PAIRS)
    size = len(names)
    figure = new_figure(max(4.5, 1.6 * size + 0.6), 1.45 * size + 0.8) if figure is None else figure
    panels = figure.subplots(size, size, sharex="col", squeeze=False)
    for i in range(size):
        for j in range(size):
            _pair(panels[i, j], data, samples, i, j, levels)
        panels[i, 0].set_ylabel(names[i], fontsize="small")
        panels[-1, i].set_xlabel(names[i], fontsize="small")
        _name_levels(panels[-1, i].xaxis, _of_column(levels, i), MAX_LETTERS // 2)
    _legend(figure)
    return figure


def _check_table(
    data: Any, samples: Any, names: Sequence[str] | None, limit: int
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return the first `limit` columns of both tables, and their names."""
    data, samples = _observed_rows(data), to_rows(samples, "samples")
    names = [f"x[{j}]" for j in range(data.shape[1])] if names is None else list(map(str, names))
    check(
        data.shape[1] == samples.shape[1] == len(names),
        f"Expected data, samples and column_names of equally many columns; "
        f"got {data.shape[1]}, {samples.shape[1]} and {len(names)}.",
    )
    return data[:, :limit], samples[:, :limit], names[:limit]


def _observed_rows(data: Any) -> np.ndarray:
    """Return data as floats of shape (N, D), NaN where missing; raise for infinite entries."""
    values = to_array(data)
    missing = np.isnan(values) if values.dtype.kind == "f" and values.ndim == 2 else np.zeros(1, dtype=bool)
    if not missing.any():
        return to_rows(data, "data")
    return np.where(missing, np.nan, to_rows(np.where(missing, 0, values), "data"))


def _of_column(levels: Levels | None, column: int) -> Sequence[str]:
    return () if levels is None else levels[column]


def _limits(data: np.ndarray, samples: np.ndarray) -> tuple[float, float]:
    """Return a range that contains the data and all but the most extreme samples."""
    data = data[~np.isnan(data)]
    low, high = np.quantile(samples, [0.01, 0.99])
    if data.size:
        low, high = min(data.min(), low), max(data.max(), high)
    margin = 0.04 * (high - low) or 0.5 * max(1.0, abs(high))
    return float(low - margin), float(high + margin)


def _histograms(ax: Axes, data: np.ndarray, samples: np.ndarray, levels: Sequence[str] = ()) -> None:
    low, high = (-0.5, len(levels) - 0.5) if levels else _limits(data, samples)
    edges = np.linspace(low, high, (len(levels) or BINS) + 1)
    # Not density=True: samples outside the range count in the normalization.
    observed = [x[~np.isnan(x)] for x in (data, samples)]
    shares = [np.histogram(x, edges)[0] / np.diff(edges) / max(len(x), 1) for x in observed]
    if levels:
        places = np.arange(len(levels))
        ax.bar(places, shares[0], 0.8, color=BLUE, alpha=0.45)
        ax.bar(places, shares[1], 0.8, fill=False, edgecolor=VERMILION, linewidth=1.6)
    else:
        ax.stairs(shares[0], edges, fill=True, color=BLUE, alpha=0.45)
        ax.stairs(shares[1], edges, color=VERMILION, linewidth=1.6)
    ax.set(xlim=(low, high), ylim=(0, None), yticks=[])
    _name_levels(ax.xaxis, levels)


def _name_levels(axis: Any, levels: Sequence[str], most_letters: int = MAX_LETTERS) -> None:
    """Write shortened level names on an axis; at most eight of them, slanted if they are long."""
    if levels:
        shown = range(0, len(levels), -(-len(levels) // MAX_NAMED))
        names = [name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…" for name in levels]
        crowded = sum(len(names[k]) for k in shown) > most_letters
        axis.set_ticks(list(shown), [names[k] for k in shown], fontsize="small")
        if crowded and axis.axis_name == "x":
            for label in axis.get_ticklabels():
                label.set(rotation=30, ha="right", rotation_mode="anchor")


def _pair(
    ax: Axes, data: np.ndarray, samples: np.ndarray, i: int, j: int, levels: Levels | None = None
) -> None:
    if i < j:
        ax.remove()
        return
    if i == j:
        _histograms(ax, data[:, i], samples[:, i], _of_column(levels, i))
        return
    count = min(len(data), len(samples), MAX_POINTS)  # equal numbers, for comparable point densities
    points = np.concatenate([x[evenly_spaced_rows(len(x), count)][:, [j, i]] for x in (data, samples)])
    rng = np.random.default_rng(0)
    for axis, column in enumerate((j, i)):
        if _of_column(levels, column):
            points[:, axis] += rng.uniform(-SPREAD, SPREAD, len(points))
    order, colors = shuffle(np.arange(2 * count)), np.repeat([BLUE, VERMILION], count)
    ax.scatter(points[order, 0], points[order, 1], c=colors[order], s=5, linewidths=0)
    limits = [
        (-0.5, len(names) - 0.5) if (names := _of_column(levels, k)) else _limits(data[:, k], samples[:, k])
        for k in (j, i)
    ]
    ax.set(xlim=limits[0], ylim=limits[1])
    _name_levels(ax.yaxis, _of_column(levels, i))
    ax.tick_params(labelleft=j == 0)


def _legend(figure: Figure) -> None:
    """Draw one legend for all panels."""
    handles = [
        Patch(color=BLUE, alpha=0.5, label="data"),
        Patch(color=VERMILION, label="samples from the model"),
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=2, frameon=False)
