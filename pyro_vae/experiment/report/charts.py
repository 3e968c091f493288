"""The charts of a report, as Bokeh's JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import bokeh
import numpy as np
from bokeh.embed import json_item
from bokeh.models import ColumnDataSource, CustomJS, HoverTool, Legend, LegendItem, Range1d, Span, TapTool
from bokeh.plotting import figure
from numpy.typing import NDArray

from pyro_vae.plots._canvas import BLUE, VERMILION
from pyro_vae.plots.epoch_curves import (
    ERROR_PANELS,
    PANELS,
    Curve,
    Panel,
    best_record,
    elbo_panel,
    limits_after_start,
    main_key,
    metric_panels,
    splits_of,
    value_of,
)

__all__ = ["bokeh_script", "curves", "latent_chart"]

COLORS = {"train": BLUE, "validation": VERMILION, "prior": VERMILION, "mixture": BLUE}


def bokeh_script() -> str:
    """Return the BokehJS script without tables, widgets and WebGL."""
    path = Path(bokeh.__file__).parent / "server" / "static" / "js" / "bokeh.min.js"
    return path.read_text(encoding="utf-8")


def curves(history: Sequence[Mapping[str, Any]], best_epoch: int | None) -> list[dict[str, Any]]:
    """Return one chart per training metric, with the kept epoch as a dotted line.

    Args:
        history: One record per epoch of training; may be empty.
        best_epoch: The epoch whose weights were kept.
    """
    if not history:
        return []
    names = ERROR_PANELS if main_key(history) == "error" else PANELS
    panels = [elbo_panel(history, key) for key in names] + metric_panels(history)
    kept = next((line for line in history if line["epoch"] == best_epoch), None)
    best = kept or best_record(history, splits_of(history)[-1])
    return [json_item(_curve_chart(panel, history, best)) for panel in panels]


def _curve_chart(panel: Panel, history: Sequence[Mapping[str, Any]], best: Mapping[str, Any]) -> Any:
    chart = _chart(panel.title.replace("\n", " "), 260, tools="box_zoom,pan,reset,save", name="curve")
    chart.xaxis.axis_label, chart.yaxis.axis_label = "epoch", panel.unit
    limits = limits_after_start(history, best, panel.curves)
    if limits is not None:
        chart.y_range = Range1d(*limits)
    drawn = [(curve.label, _draw(chart, history, curve)) for curve in panel.curves]
    if all(label for label, _ in drawn):
        legend = Legend(items=[LegendItem(label=label, renderers=found) for label, found in drawn])
        legend.update(orientation="horizontal", background_fill_alpha=0, border_line_color=None, padding=0)
        chart.add_layout(legend, "above")
    chart.add_layout(Span(location=best["epoch"], dimension="height", line_dash="dotted", line_color="gray"))
    chart.add_tools(HoverTool(tooltips=[("epoch", "@epoch"), ("value", "@value{0.000}")]))
    return chart


def _draw(chart: Any, history: Sequence[Mapping[str, Any]], curve: Curve) -> list[Any]:
    """Draw a curve, with markers if it has few points; return the glyphs."""
    lines = [line for line in history if curve.key in (line.get(curve.part) or {})]
    data = {
        "epoch": [line["epoch"] for line in lines],
        "value": [value_of(line, curve.part, curve.key) for line in lines],
    }
    style = {"color": COLORS.get(curve.label, VERMILION), "source": ColumnDataSource(data)}
    drawn = [chart.line("epoch", "value", line_width=2, **style)]
    if len(lines) <= 20:
        drawn.append(chart.scatter("epoch", "value", size=5, **style))
    return drawn


def latent_chart(x: NDArray[np.float64], y: NDArray[np.float64], names: tuple[str, str]) -> dict[str, Any]:
    """Return the scatter plot of latent space; the page's script sets colours, axes and row details.

    Args:
        x: Shape (N,).
        y: Shape (N,).
        names: Labels of the axes.
    """
    source = ColumnDataSource({"x": x, "y": y, "colour": [BLUE] * len(x)}, name="points")
    chart = _chart("", 460, tools="box_zoom,wheel_zoom,pan,reset,save", name="latent")
    chart.xaxis.axis_label, chart.yaxis.axis_label = names
    drawn = chart.scatter(
        "x",
        "y",
        source=source,
        size=7,
        fill_color="colour",
        fill_alpha=0.8,
        line_color=None,
        nonselection_fill_alpha=0.8,
        nonselection_line_color=None,
        selection_fill_alpha=1.0,
        selection_line_color="black",
        selection_line_width=2,
    )
    show = CustomJS(code="const i = cb_data.index.indices; if (i.length) window.showRow(i[0])")
    chart.add_tools(HoverTool(renderers=[drawn], tooltips=None, callback=show), TapTool(renderers=[drawn]))
    chosen = CustomJS(code="const i = cb_obj.indices; if (i.length) window.showRow(i[0])")
    source.selected.js_on_change("indices", chosen)
    return json_item(chart)


def _chart(title: str, height: int, **more: Any) -> Any:
    """Return an empty chart that fills its container, with a transparent background."""
    chart = figure(
        title=title or None,
        height=height,
        sizing_mode="stretch_width",
        background_fill_color=None,
        border_fill_color=None,
        outline_line_color=None,
        toolbar_location="above",
        **more,
    )
    chart.toolbar.logo = None
    chart.grid.grid_line_alpha = 0.25
    return chart
