"""The latent space, coloured by class or by a quantity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from pyro_vae._checks import check, check_integer
from pyro_vae.evenly_spaced import evenly_spaced_rows
from pyro_vae.plots._canvas import (
    BLUE,
    CLASS_COLORS,
    axes_or_new,
    new_figure,
    shuffle,
    to_array,
    to_rows,
)

MAX_POINTS = 4000
MARKERS = "o^"  # classes 11 to 20 reuse the ten colours with another marker


def widest_dimensions(z: Any, count: int) -> tuple[int, ...]:
    """Return the dimensions with the largest variance of the latents.

    A dimension that the model does not use has the same posterior mean, 0, for every row.

    Args:
        z: Latents, usually posterior means, shape (N, latent_dim).
        count: Number of dimensions; at most latent_dim.

    Returns:
        Dimensions of z in decreasing order of their variance over rows.
    """
    variance = to_rows(z, "z").var(axis=0)
    return tuple(np.argsort(-variance, kind="stable")[: check_integer(count, "count")].tolist())


def latent_space(
    z: Any,
    labels: Any = None,
    class_names: Sequence[str] | None = None,
    dims: Sequence[int] = (0, 1),
    *,
    site: str = "z",
    ax: Axes | None = None,
) -> Axes:
    """Draw two dimensions of the latents, or a histogram by class if z has one dimension.

    Up to twenty classes get colours and a legend; more classes, and float labels, get a colour bar. At most 4000
    evenly spaced rows are drawn.

    Args:
        z: Latents, usually posterior means, shape (N, latent_dim).
        labels: Shape (N,): whole numbers or strings for classes, floats for a quantity; None for one colour.
        class_names: Name of each class; the labels are then class indices from 0.
        dims: The two dimensions to draw, as `widest_dimensions` finds them.
        site: Name of the latent site, shown at the axes and, unless it is "z", in the title.
        ax: Axes to draw into; a new figure by default.

    Returns:
        The axes.

    Raises:
        InputError: If the labels do not match z or the names, or a dimension is out of range.
    """
    z = to_rows(z, "z")
    coloring = Coloring.of(labels, class_names, len(z))
    ax = axes_or_new(ax, 6.4, 5.2)
    ax.set_title(_title(site))
    if z.shape[1] == 1:
        _histogram(ax, z[:, 0], coloring if coloring.names else Coloring.of(None, None, len(z)), site)
        return ax
    _scatter(ax, z, coloring, _check_dims(dims, 2, z.shape[1]), site)
    ax.set_aspect("equal", adjustable="datalim")
    return ax


def latent_space_3d(
    z: Any,
    labels: Any = None,
    class_names: Sequence[str] | None = None,
    dims: Sequence[int] = (0, 1, 2),
    *,
    site: str = "z",
    ax: Axes | None = None,
) -> Axes:
    """Draw three dimensions of the latents; colours as in `latent_space`.

    Args:
        z: Latents, shape (N, latent_dim) with a latent_dim of at least 3.
        labels: Shape (N,): whole numbers or strings for classes, floats for a quantity; None for one colour.
        class_names: Name of each class; the labels are then class indices from 0.
        dims: The three dimensions to draw.
        site: The name of the latent site, as in `latent_space`.
        ax: Axes of projection "3d" to draw into; a new figure by default.

    Returns:
        The axes.

    Raises:
        InputError: As for `latent_space`, or if the axes are not 3D.
    """
    z = to_rows(z, "z")
    coloring = Coloring.of(labels, class_names, len(z))
    dims = _check_dims(dims, 3, z.shape[1])
    ax = new_figure(7, 5.6).add_subplot(projection="3d") if ax is None else ax
    check(ax.name == "3d", f'Expected axes of projection "3d"; got {ax.name}. Add them with projection="3d".')
    ax.set_title(_title(site))
    _scatter(ax, z, coloring, dims, site)
    return ax


def _title(site: str) -> str:
    return "Latent space" if site == "z" else f"Latent space of {site}"


@dataclass(frozen=True)
class Coloring:
    """Colours of the rows: named classes, or a quantity.

    Attributes:
        values: Shape (N,): the class index of each row, or its quantity.
        names: Class names; empty for a quantity, one empty name if there are no labels.
    """

    values: np.ndarray
    names: tuple[str, ...]

    @classmethod
    def of(cls, labels: Any, class_names: Sequence[str] | None, count: int) -> Coloring:
        """Return the colouring of `count` rows by their labels."""
        if labels is None:
            return cls(np.zeros(count, dtype=int), ("",))
        labels = to_array(labels)
        check(
            labels.shape == (count,), f"Expected labels of shape ({count},), one a row; got {labels.shape}."
        )
        if class_names is not None:
            names, numbers = np.asarray(class_names), _check_numbers(labels, len(class_names))
        elif labels.dtype.kind == "f":
            return cls(labels, ())
        else:
            labels = labels.astype(str) if labels.dtype == object else labels  # mixed types cannot be sorted
            names, numbers = np.unique(labels, return_inverse=True)
        if len(names) > len(MARKERS) * len(CLASS_COLORS):
            return cls(labels if labels.dtype.kind in "iu" else numbers, ())
        return cls(numbers, tuple(map(str, names)))

    def color(self, number: int) -> str:
        """Return the colour of a class."""
        return BLUE if len(self.names) == 1 else CLASS_COLORS[number % len(CLASS_COLORS)]


def _check_numbers(labels: np.ndarray, count: int) -> np.ndarray:
    wrong = labels if labels.dtype.kind not in "biu" else labels[(labels < 0) | (labels >= count)]
    check(
        len(wrong) == 0,
        f"Expected labels to be whole numbers from 0 to {count - 1}, one for each of the class_names; "
        f"got {wrong[:1].tolist()}.",
    )
    return labels.astype(int)


def _check_dims(dims: Sequence[int], count: int, latent_dim: int) -> list[int]:
    check(
        len(dims) == count == len(set(dims)) and all(0 <= d < latent_dim for d in dims),
        f"Expected dims to be {count} different dimensions of z, from 0 to {latent_dim - 1}; "
        f"got {tuple(dims)}.",
    )
    return list(dims)


def _scatter(ax: Any, z: np.ndarray, coloring: Coloring, dims: list[int], site: str) -> None:
    """Draw points on 2D or 3D axes."""
    shown = shuffle(evenly_spaced_rows(len(z), MAX_POINTS))
    z, values = z[shown][:, dims], coloring.values[shown]
    style: dict[str, Any] = {"s": float(np.clip(20000 / len(shown), 5, 40)), "linewidths": 0, "alpha": 0.8}
    ax.set(**{f"{axis}label": f"{site}[{dim}]" for axis, dim in zip("xyz", dims, strict=False)})
    if not coloring.names:
        points = ax.scatter(*z.T, c=values, **style)
        ax.figure.colorbar(points, ax=ax, label="label", shrink=0.8, pad=0.1 if len(dims) == 3 else 0.02)
        return
    for k, marker in enumerate(MARKERS):
        rows = values // len(CLASS_COLORS) == k
        ax.scatter(*z[rows].T, c=[coloring.color(number) for number in values[rows]], marker=marker, **style)
    for number, name in enumerate(coloring.names):
        marker = MARKERS[number // len(CLASS_COLORS)]
        ax.plot([], [], color=coloring.color(number), marker=marker, linestyle="", label=name)
    _legend(ax, coloring)


def _histogram(ax: Axes, z: np.ndarray, coloring: Coloring, site: str) -> None:
    """Draw a histogram of the only dimension of z, stacked by class."""
    edges = np.histogram_bin_edges(z, bins=50)
    base = np.zeros(len(edges) - 1)
    for number, name in enumerate(coloring.names):
        top = base + np.histogram(z[coloring.values == number], edges)[0]
        style: dict[str, Any] = {
            "facecolor": coloring.color(number),
            "hatch": "///" if number >= len(CLASS_COLORS) else None,
        }
        ax.stairs(top, edges, baseline=base, fill=True, label=name, **style)
        base = top
    ax.set(xlabel=f"{site}[0]", ylabel="rows")
    _legend(ax, coloring)


def _legend(ax: Any, coloring: Coloring) -> None:
    if len(coloring.names) > 1:
        side, columns = (1.12 if ax.name == "3d" else 1.01, 0.5), 1 + len(coloring.names) // 13
        ax.legend(loc="center left", bbox_to_anchor=side, frameon=False, ncols=columns, handletextpad=0.4)
