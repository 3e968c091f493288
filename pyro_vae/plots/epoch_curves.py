"""What training measured in each epoch, against the epoch: the ELBO with its two parts, and metrics."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pyro_vae._checks import check
from pyro_vae.plots._canvas import BLUE, VERMILION, new_figure

Record = Mapping[str, Any]

PANELS = {"elbo": "ELBO", "reconstruction": "Reconstruction: E[log p(x|z)]", "kl": "KL(q(z|x) || p(z))"}
STYLES: dict[str, dict[str, Any]] = {
    "train": {"color": BLUE, "linestyle": "--"},
    "validation": {"color": VERMILION},
    "metrics": {"color": VERMILION},
}
COLUMNS = 4
"""Panels beside one another at most."""


class _Panel(NamedTuple):
    """A number against the epoch.

    Args:
        title: Above the axes.
        unit: Beside the vertical axis.
        parts: Parts of a record that hold the number, a curve each.
        key: Its name there.
    """

    title: str
    unit: str
    parts: list[str]
    key: str


def training_curves(
    history: Sequence[Record], *, best_epoch: int | None = None, figure: Figure | None = None
) -> Figure:
    """Draw the ELBO and its two parts, ELBO = E_q[log p(x|z)] - KL(q(z|x) || p(z)), and metrics against the epoch.

    The epoch whose weights were kept is marked, the band is one standard error on either side. The first tenth of the
    epochs does not stretch the vertical axes.

    Args:
        history: A record an epoch, in nats per example: `{"epoch": int, "train": {"elbo", "reconstruction",
            "kl"}, "validation": {"elbo", "reconstruction", "kl", "elbo_se"}, "metrics": {name: float}}`.
            `"validation"` and `"metrics"` may be missing or None in any record, `"elbo_se"` missing too; other keys are
            ignored. A metric has a unit of its own, which its axis does not name.
        best_epoch: The epoch to mark, as in `FitResult`; by default the best by validation ELBO, by training ELBO
            where there is no validation.
        figure: Where to draw; a new figure by default.

    Returns:
        The figure, of three panels and one for each metric.

    Raises:
        InputError: The history is empty.
    """
    check(len(history) > 0, "Expected a history of at least one epoch; got an empty one. Train first.")
    splits = [split for split in ("train", "validation") if any(record.get(split) for record in history)]
    names = dict.fromkeys(name for record in history for name in record.get("metrics") or {})
    panels = [_Panel(title, "nats per example", splits, key) for key, title in PANELS.items()]
    panels += [_Panel(name, "", ["metrics"], name) for name in names]
    columns, lines = min(len(panels), COLUMNS), -(-len(panels) // COLUMNS)
    figure = new_figure(13 / 3 * columns, 3.8 * lines) if figure is None else figure
    kept = next((record for record in history if record["epoch"] == best_epoch), None)
    best = kept or best_record(history, splits[-1])
    for place, panel in enumerate(panels, 1):
        _draw(figure.add_subplot(lines, columns, place), panel, history, best)
    _mark(figure.axes[0], best, splits[-1], "kept" if kept else "best")
    return figure


def _draw(ax: Axes, panel: _Panel, history: Sequence[Record], best: Record) -> None:
    for part in panel.parts:
        _curve(ax, history, part, panel.key)
    ax.set(title=panel.title, xlabel="epoch", ylabel=panel.unit)
    ax.set_ylim(_settled_limits(history, best, panel.parts, panel.key))
    ax.set_xlim(history[0]["epoch"] - 0.5, history[-1]["epoch"] + 0.5)
    ax.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
    ax.axvline(best["epoch"], color="0.5", linewidth=1, linestyle=":", zorder=0)


def best_record(history: Sequence[Record], split: str) -> Record:
    """Return the record of the largest finite ELBO on `split`, or the first record where none is finite."""
    return max(history, key=lambda record: np.nan_to_num(_value(record, split, "elbo"), nan=-math.inf))


def _value(record: Record, split: str, key: str) -> float:
    """Return one number of a record, NaN where it was not measured or is not finite."""
    value = (record.get(split) or {}).get(key)
    return float(value) if value is not None and math.isfinite(value) else math.nan


def _curve(ax: Axes, history: Sequence[Record], split: str, key: str) -> None:
    points = [
        (r["epoch"], _value(r, split, key), _value(r, split, f"{key}_se")) for r in history if r.get(split)
    ]
    epoch, value, se = np.array(points, dtype=float).T
    marker = "o" if len(points) <= 20 else None
    ax.plot(epoch, value, label=split, marker=marker, markersize=4, linewidth=1.8, **STYLES[split])
    if np.isfinite(se).any():
        ax.fill_between(epoch, value - se, value + se, color=STYLES[split]["color"], alpha=0.2, linewidth=0)


def _mark(ax: Axes, best: Record, split: str, word: str) -> None:
    value = _value(best, split, "elbo")
    label = f"{word}: {value:.1f} at epoch {best['epoch']}"
    ax.plot(best["epoch"], value, "*", color="black", markersize=11, linestyle="none", label=label)
    ax.legend(loc="best")


def _settled_limits(
    history: Sequence[Record], best: Record, splits: Sequence[str], key: str
) -> tuple[float, float] | None:
    """Return limits from what follows the first tenth of the epochs (and from the best epoch on)."""
    skipped = math.ceil(len(history) / 10) if len(history) >= 4 else 0
    settled = history[min(skipped, history.index(best)) :]
    values = np.array([_value(record, split, key) for record in settled for split in splits])
    values = values[np.isfinite(values)]
    if not values.size or np.ptp(values) == 0:
        return None
    margin = 0.08 * np.ptp(values)
    return float(values.min() - margin), float(values.max() + margin)
