"""Training curves: the ELBO with its two parts, and metrics, against the epoch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pyro_vae._checks import check
from pyro_vae.evaluate.samples.names import metric_title, split_key
from pyro_vae.plots._canvas import BLUE, VERMILION, new_figure

Record = Mapping[str, Any]

PANELS = {"elbo": "ELBO", "reconstruction": "Reconstruction: E[log p(x|z)]", "kl": "KL(q(z|x) || p(z))"}
ERROR_PANELS = {"error": "Error of reconstructions", "squared_norm": "Squared norm of codes"}
"""Panels of an autoencoder, which has no ELBO."""
STYLES: dict[str, dict[str, Any]] = {
    "train": {"color": BLUE, "linestyle": "--"},
    "validation": {"color": VERMILION},
    "prior": {"color": VERMILION},
    "mixture": {"color": BLUE},
}
COLUMNS = 4
"""Maximum number of panels per row."""
TITLE_WIDTH = 40
"""Maximum length of a title line in characters."""


class Curve(NamedTuple):
    """One number against the epoch.

    Args:
        part: The part of a record that holds it.
        key: Its key in that part; the standard error has the key `key` + "_se".
        label: Legend label, and the key of its style in `STYLES`.
    """

    part: str
    key: str
    label: str


class Panel(NamedTuple):
    """Curves in one pair of axes.

    Args:
        title: Title of the axes.
        unit: Label of the vertical axis.
        curves: At least one.
    """

    title: str
    unit: str
    curves: list[Curve]


def training_curves(
    history: Sequence[Record], *, best_epoch: int | None = None, figure: Figure | None = None
) -> Figure:
    """Draw the ELBO and its two parts, ELBO = E_q[log p(x|z)] - KL(q(z|x) || p(z)), and metrics against the epoch.

    For an autoencoder they are the error of its reconstructions and the squared norm of its codes.

    The epoch whose weights were kept is marked, the band is one standard error on either side. The first tenth of the
    epochs does not stretch the vertical axes.

    Args:
        history: One record per epoch, in nats per example: `{"epoch": int, "train": {"elbo", "reconstruction",
            "kl"}, "validation": {"elbo", "reconstruction", "kl", "elbo_se"}, "metrics": {name: float}}`.
            Records of an autoencoder have `"error"` and `"squared_norm"` in place of the first three, and `"error_se"`.
            `"validation"` and `"metrics"` may be missing or None in any record, `"elbo_se"` missing too; other keys are
            ignored. Axes of metrics show no unit. Metrics with names such as
            "distance/prior" and "distance/mixture" share a panel, and "NAME_se" is the standard error of NAME.
        best_epoch: The epoch to mark, as in `FitResult`; by default the best by validation ELBO, or by training ELBO
            if there is no validation.
        figure: Figure to draw into; a new one by default.

    Returns:
        The figure, with three panels (two for an autoencoder) and one for each metric, over the epochs in which it was
        measured.

    Raises:
        InputError: If the history is empty.
    """
    check(len(history) > 0, "Expected a history of at least one epoch; got an empty one. Train first.")
    splits = splits_of(history)
    panels = [elbo_panel(history, key) for key in (ERROR_PANELS if main_key(history) == "error" else PANELS)]
    panels += metric_panels(history)
    columns, lines = min(len(panels), COLUMNS), -(-len(panels) // COLUMNS)
    figure = new_figure(13 / 3 * columns, 3.8 * lines) if figure is None else figure
    kept = next((record for record in history if record["epoch"] == best_epoch), None)
    best = kept or best_record(history, splits[-1])
    for place, panel in enumerate(panels, 1):
        draw_panel(figure.add_subplot(lines, columns, place), panel, history, best)
    mark_epoch(figure.axes[0], best, splits[-1], "kept" if kept else "best")
    return figure


def splits_of(history: Sequence[Record]) -> list[str]:
    """Return "train", and "validation" if the history has it."""
    return [split for split in ("train", "validation") if any(record.get(split) for record in history)]


def main_key(history: Sequence[Record]) -> str:
    """Return the key by which epochs are compared: "elbo", or "error" for an autoencoder."""
    return "error" if any("error" in (record.get("train") or {}) for record in history) else "elbo"


def elbo_panel(history: Sequence[Record], key: str | None = None) -> Panel:
    """Return the panel of the ELBO (or an autoencoder's error) or of one of its parts, with one curve per split."""
    key = key or main_key(history)
    unit = "nats per example" if key in PANELS else "per row"
    curves = [Curve(split, key, split) for split in splits_of(history)]
    return Panel((PANELS | ERROR_PANELS)[key], unit, curves)


def metric_panels(history: Sequence[Record]) -> list[Panel]:
    """Return a panel for each metric; those with names such as "distance/prior" and "distance/mixture" share one."""
    names = dict.fromkeys(name for record in history for name in record.get("metrics") or {})
    panels: dict[str, Panel] = {}
    for name in names:
        if not name.endswith("_se") or name.removesuffix("_se") not in names:
            measure, source = split_key(name)
            panel = panels.setdefault(measure, Panel(_title(measure), "", []))
            panel.curves.append(Curve("metrics", name, source))
    return list(panels.values())


def _title(measure: str) -> str:
    """Return the title of a metric, with its features on a second line if one line is too short."""
    title = metric_title(measure)
    return title if len(title) <= TITLE_WIDTH else title.replace(", ", "\n", 1)


def draw_panel(ax: Axes, panel: Panel, history: Sequence[Record], best: Record) -> None:
    """Draw the curves of a panel, with the kept epoch as a dotted line."""
    for curve in panel.curves:
        _curve(ax, history, curve)
    if any(curve.part == "metrics" and curve.label for curve in panel.curves):
        ax.legend(loc="best")
    ax.set(title=panel.title, xlabel="epoch", ylabel=panel.unit)
    ax.set_ylim(limits_after_start(history, best, panel.curves))
    ax.set_xlim(history[0]["epoch"] - 0.5, history[-1]["epoch"] + 0.5)
    ax.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
    ax.axvline(best["epoch"], color="0.5", linewidth=1, linestyle=":", zorder=0)


def best_record(history: Sequence[Record], split: str) -> Record:
    """Return the record with the largest finite ELBO (smallest error) on `split`; the first record if there is none."""
    key = main_key(history)
    sign = -1 if key == "error" else 1
    return max(history, key=lambda record: np.nan_to_num(sign * value_of(record, split, key), nan=-math.inf))


def value_of(record: Record, split: str, key: str) -> float:
    """Return one number of a record, NaN if it was not measured or is not finite."""
    value = (record.get(split) or {}).get(key)
    return float(value) if value is not None and math.isfinite(value) else math.nan


def _curve(ax: Axes, history: Sequence[Record], curve: Curve) -> None:
    part, key, label = curve
    style = STYLES.get(label, {"color": VERMILION})
    points = [
        (r["epoch"], value_of(r, part, key), value_of(r, part, f"{key}_se"))
        for r in history
        if key in (r.get(part) or {})
    ]
    epoch, value, se = np.array(points, dtype=float).T
    marker = "o" if len(points) <= 20 else None
    ax.plot(epoch, value, label=label or key, marker=marker, markersize=4, linewidth=1.8, **style)
    if np.isfinite(se).any():
        ax.fill_between(epoch, value - se, value + se, color=style["color"], alpha=0.2, linewidth=0)


def mark_epoch(ax: Axes, best: Record, split: str, word: str) -> None:
    """Mark the ELBO of an epoch, or its error, by a star, and draw the legend."""
    key = main_key([best])
    value = value_of(best, split, key)
    label = f"{word}: {value:.{1 if key == 'elbo' else 3}f} at epoch {best['epoch']}"
    ax.plot(best["epoch"], value, "*", color="black", markersize=11, linestyle="none", label=label)
    ax.legend(loc="best")


def limits_after_start(
    history: Sequence[Record], best: Record, curves: Sequence[Curve]
) -> tuple[float, float] | None:
    """Return axis limits that ignore the first tenth of the epochs, unless the best epoch is among them."""
    skipped = math.ceil(len(history) / 10) if len(history) >= 4 else 0
    settled = history[min(skipped, history.index(best)) :]
    values = np.array([value_of(record, curve.part, curve.key) for record in settled for curve in curves])
    values = values[np.isfinite(values)]
    if not values.size or np.ptp(values) == 0:
        return None
    margin = 0.08 * np.ptp(values)
    return float(values.min() - margin), float(values.max() + margin)
