"""Sample quality and ELBO against the epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pyro_vae._checks import check
from pyro_vae.evaluate.samples.names import split_key
from pyro_vae.plots._canvas import new_figure
from pyro_vae.plots.epoch_curves import (
    Panel,
    Record,
    best_record,
    draw_panel,
    elbo_panel,
    mark_epoch,
    metric_panels,
    splits_of,
)

__all__ = ["sample_quality_curves"]

LABELS = {"prior": "z from the prior", "mixture": "z from a mixture fitted to the codes"}
FLOOR = "training rows against the others"


def sample_quality_curves(
    history: Sequence[Record],
    floor: Mapping[str, float] | None = None,
    *,
    best_epoch: int | None = None,
    title: str = "",
    figure: Figure | None = None,
) -> Figure:
    """Draw the ELBO and each sample-quality metric against the epoch, for samples from the prior and from a mixture.

    Args:
        history: One record per epoch, as for `training_curves`, some with metrics of `SampleQuality`.
        floor: Metrics of training rows against other training rows, by key, such as
            "frechet-efficientnet-lite0-96px/floor": horizontal lines.
        best_epoch: Epoch to mark; by default the one with the best ELBO.
        title: Title of the figure, such as the data set and the number of samples.
        figure: Figure to draw into; a new one by default.

    Returns:
        The figure, with a panel for the ELBO and one for each metric.

    Raises:
        InputError: If no epoch has metrics of `SampleQuality`.
    """
    panels = [panel for panel in metric_panels(history) if split_key(panel.curves[0].key)[1]]
    check(bool(panels), "Expected a history with metrics of samples; got none. Train with `SampleQuality`.")
    kept = next((record for record in history if record["epoch"] == best_epoch), None)
    best = kept or best_record(history, splits_of(history)[-1])
    figure = new_figure(5.2 * (1 + len(panels)), 4.2) if figure is None else figure
    axes = figure.subplots(1, 1 + len(panels), squeeze=False)[0]
    draw_panel(axes[0], elbo_panel(history), history, best)
    mark_epoch(axes[0], best, splits_of(history)[-1], "kept" if kept else "best")
    for ax, panel in zip(axes[1:], panels, strict=True):
        draw_panel(ax, panel, history, best)
        _draw_floor(ax, panel, floor or {})
    if title:
        figure.suptitle(title)
    return figure


def _draw_floor(ax: Axes, panel: Panel, floor: Mapping[str, float]) -> None:
    """Draw the floor, extend the axis to 0, and draw the legend."""
    for line, curve in zip(ax.lines, panel.curves, strict=False):
        line.set_label(LABELS.get(curve.label, curve.label))
    value = floor.get(f"{split_key(panel.curves[0].key)[0]}/floor")
    if value is not None:
        ax.axhline(value, color="0.35", linewidth=1.4, linestyle="--", label=f"{FLOOR}: {value:.3g}")
    drawn = np.concatenate([np.asarray(line.get_ydata(), float) for line in ax.lines[: len(panel.curves)]])
    highest = np.nanmax(np.append(drawn, value if value is not None else np.nan))
    if highest > 0:
        ax.set_ylim(min(0.0, value or 0.0) - 0.03 * highest, 1.05 * highest)
    ax.legend(loc="best")
