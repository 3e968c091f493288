"""Grids of images: pixels, positions and frames."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox, BboxTransformFrom

from pyro_vae._checks import check
from pyro_vae.plots._canvas import DPI, to_array, to_rows

Range = tuple[float, float]

LEAST_DOTS, MOST_DOTS = 80, 150
"""Width of an image and the space beside it in a new figure, in dots; each pixel gets a whole number of dots."""
TALLEST = 18.0
"""Maximum height of the images in a new figure, in inches."""
SIDES, BOTTOM, TOP, BETWEEN = 1.5, 0.6, 0.65, (0.2, 0.6)
"""Space in inches for labels around the panels of a new figure, and between panels across and down; `save` crops unused
space."""
FRAME = "0.6"
"""Grey level of the frame around each image, so that white images have a visible edge."""


def to_rgb(images: Any, data_shape: Sequence[int], value_range: Range, name: str) -> np.ndarray:
    """Return images of shape (N, H, W, 3) with values in [0, 1]."""
    shape = tuple(data_shape)
    check(
        len(shape) == 2 or (len(shape) == 3 and shape[0] in (1, 3, 4)),
        f"Expected a data_shape of (H, W), (1, H, W), (3, H, W) or (4, H, W); got {shape}. "
        "Use marginals for other data.",
    )
    array = to_array(images)
    check(
        len(array) > 0 and array[0].size == math.prod(shape),
        f"Expected {name} of shape (N, {math.prod(shape)}) with at least one row, for a data_shape of "
        f"{shape}; got {array.shape}.",
    )
    low, high = value_range
    check(low < high, f"Expected a value_range of (low, high) with low < high; got {value_range}.")
    own = array.shape[1:] == shape
    rows = to_rows(array.reshape(len(array), -1) if own else array, name)
    unit = np.clip((rows.reshape(len(rows), -1, *shape[-2:]) - low) / (high - low), 0, 1)
    if unit.shape[1] == 4:  # composited over white
        unit = 1 - unit[:, 3:] * (1 - unit[:, :3])
    return np.broadcast_to(np.moveaxis(unit, 1, -1), (len(rows), *shape[-2:], 3))


def to_grid(rgb: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Return the first images as (rows, columns, H, W, 3), at most `rows` x `columns`; missing images are NaN."""
    columns = min(columns, len(rgb))
    rows = min(rows, math.ceil(len(rgb) / columns))
    grid = np.full((rows * columns, *rgb.shape[1:]), np.nan)
    grid[: len(rgb)] = rgb[: len(grid)]
    return grid.reshape(rows, columns, *rgb.shape[1:])


def new_panels(grid: np.ndarray, rows: int = 1, columns: int = 1) -> list[Axes]:
    """Return axes of a new figure, row by row, each sized for a grid of images."""
    width, height = _inches(grid)
    across, down = BETWEEN
    figure = Figure(
        (
            2 * SIDES + columns * width + (columns - 1) * across,
            BOTTOM + rows * height + (rows - 1) * down + TOP,
        )
    )
    whole = Bbox.from_bounds(0, 0, *figure.get_size_inches())
    corners = [
        (SIDES + j * (width + across), BOTTOM + (rows - 1 - i) * (height + down))
        for i in range(rows)
        for j in range(columns)
    ]
    panels = [Bbox.from_bounds(*corner, width, height) for corner in corners]
    return [figure.add_axes(panel.transformed(BboxTransformFrom(whole)).bounds) for panel in panels]


def centres(grid: np.ndarray, axis: int) -> np.ndarray:
    """Return the centres of the rows (axis 0) or columns (axis 1) of images, in pixels."""
    size = grid.shape[2 + axis]
    return np.arange(grid.shape[axis]) * (size + _gap(grid)) + (size - 1) / 2


def show(grid: np.ndarray, ax: Axes | None = None) -> Axes:
    """Draw a grid of framed images; into a new figure if `ax` is None."""
    ax = new_panels(grid)[0] if ax is None else ax
    rows, columns, height, width, _ = grid.shape
    gap = _gap(grid)
    padded = np.pad(grid, ((0, 0), (0, 0), (0, gap), (0, gap), (0, 0)), constant_values=np.nan)
    picture = padded.swapaxes(1, 2).reshape(rows * (height + gap), columns * (width + gap), 3)
    ax.imshow(
        np.nan_to_num(picture[:-gap, :-gap], nan=1.0),
        interpolation="auto" if width + gap > MOST_DOTS else "nearest",
    )
    frame(ax, grid, ~np.isnan(grid[:, :, 0, 0, 0]), color=FRAME, linewidth=0.5)
    ax.set(xticks=[], yticks=[])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    return ax


def frame(ax: Axes, grid: np.ndarray, chosen: np.ndarray, **style: Any) -> None:
    """Draw a frame around some of the images; `chosen` is boolean, (rows, columns)."""
    height, width = grid.shape[2:4]
    corners = np.argwhere(chosen)[:, None, ::-1] * (np.array([width, height]) + _gap(grid)) - 0.5
    around = np.array([[0, 0], [width, 0], [width, height], [0, height], [0, 0]])
    ax.add_collection(LineCollection(list(corners + around), clip_on=False, **style), autolim=False)


def _gap(grid: np.ndarray) -> int:
    """Return the white space between images, in image pixels."""
    return max(1, min(grid.shape[2:4]) // 14)


def _inches(grid: np.ndarray) -> tuple[float, float]:
    """Return the width and height of a grid in a new figure."""
    rows, columns, height, width, _ = grid.shape
    gap = _gap(grid)
    pitch = width + gap
    dots = math.ceil(LEAST_DOTS / pitch) if pitch <= MOST_DOTS else MOST_DOTS / pitch
    across, down = columns * pitch - gap, rows * (height + gap) - gap
    scale = min(dots / DPI, TALLEST / down)
    return across * scale, down * scale


def show_interleaved(images: Mapping[str, np.ndarray], blocks: int, columns: int, ax: Axes | None) -> Axes:
    """Draw several sets of images in alternating rows, labelled on the left; return the axes.

    Args:
        images: Images by label, from top to bottom; the same number for each, shape (N, height, width, 3).
        blocks: Maximum number of repetitions of the labels.
        columns: Maximum number of images per row.
        ax: Axes to draw into; a new figure if None.
    """
    grids = [to_grid(rows, blocks, columns) for rows in images.values()]
    grid = np.stack(grids, axis=1).reshape(-1, *grids[0].shape[1:])
    ax = show(grid, ax)
    ax.set_yticks(centres(grid, 0), list(images) * len(grids[0]))
    return ax
