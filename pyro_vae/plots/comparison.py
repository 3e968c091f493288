"""Convergence of several algorithms to one optimum."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from pyro_vae._checks import check
from pyro_vae.plots._canvas import CLASS_COLORS, new_figure

Path = Sequence[tuple[float, float]]


def climbs(paths: Mapping[str, Path], optimum: float, name: str, *, figure: Figure | None = None) -> Figure:
    """Draw values against time with the optimum, and the gap to the optimum.

    Args:
        paths: By name, the points (seconds, nats per example).
        optimum: The exact value, nats per example.
        name: Name of the optimum.
        figure: Figure to draw into; a new one by default.

    Returns:
        The figure, of two panels: the values, and the gap on a logarithmic scale.

    Raises:
        InputError: If there is no path, or an empty one.
    """
    check(bool(paths) and all(paths.values()), "Expected at least one path, each with a point; got none.")
    figure = new_figure(11, 4) if figure is None else figure
    values, gaps = figure.subplots(1, 2)
    for color, (label, path) in zip(CLASS_COLORS, paths.items(), strict=False):
        seconds, reached = np.array(path, dtype=np.float64).T
        values.plot(seconds, reached, color=color, linewidth=2, label=label)
        gaps.plot(seconds, np.where(reached < optimum, optimum - reached, np.nan), color=color, linewidth=2)
    values.axhline(optimum, color="black", linestyle="--", linewidth=1, label=name)
    values.set_ylim(_limits(list(paths.values()), optimum))
    values.set(
        title="Convergence to the exact optimum", xlabel="seconds", ylabel="nats per example, training rows"
    )
    gaps.set(title="Gap to the optimum", xlabel="seconds", ylabel="nats below the optimum", yscale="log")
    # The first steps of a path that starts far off would compress the scale of all others.
    gaps.set_ylim(top=3 * max(max(optimum - path[min(2, len(path) - 1)][1], 1e-9) for path in paths.values()))
    for ax in (values, gaps):
        ax.set_xscale("log")
    values.legend(loc="lower right", framealpha=0.9)
    return figure


def _limits(paths: Sequence[Path], optimum: float) -> tuple[float, float]:
    """Return limits that contain the last three quarters of each path."""
    late = [value for path in paths for _, value in path[len(path) // 4 :]]
    lowest = min([*late, optimum - 1e-3 * max(abs(optimum), 1)])
    room = 0.08 * max(max([*late, optimum]) - lowest, 1e-6)
    return lowest - room, max([*late, optimum]) + room
