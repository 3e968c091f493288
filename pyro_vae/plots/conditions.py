"""Plots of conditional models: one style in every class, and completions of partly given images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pyro_vae._checks import check
from pyro_vae.plots._mosaic import Range, centres, new_panels, show, to_grid, to_rgb

__all__ = ["classes_by_style", "completions"]


def classes_by_style(
    panels: Mapping[str, Sequence[Any]],
    class_names: Sequence[str],
    data_shape: Sequence[int],
    *,
    originals: Mapping[str, Any] | None = None,
    value_range: Range = (0.0, 1.0),
) -> Figure:
    """Draw grids of images: a column for each class, a row for each style.

    Args:
        panels: By title, one array of shape (styles, D) for each class.
        class_names: Names of the classes.
        data_shape: (H, W) or (1, H, W) for grey, (3, H, W) for colour, (4, H, W) for colour with opacity.
        originals: By panel title, the rows that the styles were taken from, (styles, D), drawn as the first
            column.
        value_range: Data values of black and of full brightness.

    Returns:
        The figure.

    Raises:
        InputError: If there is no panel, or images do not match `data_shape` or the names.
    """
    check(len(panels) > 0, "Expected at least one panel of images; got none.")
    grids = {}
    for title, images in panels.items():
        check(
            len(images) == len(class_names),
            f"Expected images of each of the {len(class_names)} classes; got those of {len(images)}.",
        )
        own = [(originals or {})[title]] if title in (originals or {}) else []
        columns = [to_rgb(column, data_shape, value_range, "images") for column in (*own, *images)]
        grids[title] = np.stack(columns, axis=1)
    widest = max(grids.values(), key=lambda grid: grid.shape[1])
    names = list(class_names)
    for ax, (title, grid) in zip(new_panels(widest, 1, len(grids)), grids.items(), strict=True):
        show(grid, ax).set_title(title, fontsize="medium", pad=22)
        ax.xaxis.tick_top()
        first = ["data"] * (grid.shape[1] - len(names))
        slanted = 45 if max(map(len, names)) > 5 else 0
        ax.set_xticks(
            centres(grid, 1),
            [*first, *names],
            fontsize="small",
            rotation=slanted,
            ha="left" if slanted else "center",
        )
    figure: Figure = ax.figure  # type: ignore[assignment]
    return figure


def completions(
    given: Any,
    draws: Sequence[Any],
    originals: Any,
    data_shape: Sequence[int],
    *,
    value_range: Range = (0.0, 1.0),
) -> Axes:
    """Draw partly given images, several completions of each below it, and the data.

    Args:
        given: Images, shape (N, D), with any value at the pixels that are not given.
        draws: Completed images, an array (N, D) for each draw.
        originals: The data, shape (N, D).
        data_shape: Shape of one image, see `classes_by_style`.
        value_range: Values of black and of full brightness, see `classes_by_style`.

    Returns:
        The axes.

    Raises:
        InputError: If images do not match `data_shape`.
    """
    rows = (
        {"given": given}
        | {f"draw {number + 1}": draw for number, draw in enumerate(draws)}
        | {"data": originals}
    )
    images = [to_rgb(row, data_shape, value_range, name) for name, row in rows.items()]
    grid = np.concatenate([to_grid(row, 1, len(row)) for row in images])
    ax = show(grid)
    ax.set_yticks(centres(grid, 0), list(rows))
    return ax
