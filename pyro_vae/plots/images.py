"""Rows of data that are images: what a model makes of them, and what it draws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pyro_vae._checks import check, check_integer
from pyro_vae.plots._canvas import to_array
from pyro_vae.plots._mosaic import Range, centres, new_panels, show, show_interleaved, to_grid, to_rgb


def reconstructions(
    originals: Any,
    reconstructions: Any,
    data_shape: Sequence[int],
    *,
    pairs: int = 2,
    columns: int = 10,
    value_range: Range = (0.0, 1.0),
    ax: Axes | None = None,
) -> Axes:
    """Draw originals in rows, each row with its reconstructions beneath it.

    Args:
        originals: Shape (N, D) or (N, *data_shape); the first `pairs * columns` are drawn.
        reconstructions: Of the same shape, row for row; means of p(x given z) as a rule.
        data_shape: (H, W) or (1, H, W) for grey, (3, H, W) for colour, (4, H, W) for colour with opacity.
        pairs: Pairs of rows at most.
        columns: Images a row at most.
        value_range: The data's values for black and for full brightness, in data units.
        ax: Where to draw; a new figure by default.

    Returns:
        The axes.

    Raises:
        InputError: The shapes don't fit each other or `data_shape`.
    """
    upper = to_rgb(originals, data_shape, value_range, "originals")
    lower = to_rgb(reconstructions, data_shape, value_range, "reconstructions")
    check(
        len(upper) == len(lower),
        f"Expected as many reconstructions as originals; got {len(lower)} and {len(upper)}.",
    )
    below_one_another = {"data": upper, "model": lower}
    ax = show_interleaved(
        below_one_another, check_integer(pairs, "pairs"), check_integer(columns, "columns"), ax
    )
    ax.set_title("Reconstructions")
    return ax


def samples(
    images: Any,
    data_shape: Sequence[int],
    *,
    columns: int = 10,
    value_range: Range = (0.0, 1.0),
    ax: Axes | None = None,
) -> Axes:
    """Draw images drawn from the model in a grid, at most ten rows of them.

    Args:
        images: Shape (N, D) or (N, *data_shape).
        data_shape: (H, W) or (1, H, W) for grey, (3, H, W) for colour, (4, H, W) for colour with opacity.
        columns: Images a row at most.
        value_range: The data's values for black and for full brightness, in data units.
        ax: Where to draw; a new figure by default.

    Returns:
        The axes.

    Raises:
        InputError: `images` does not fit `data_shape`.
    """
    rgb = to_rgb(images, data_shape, value_range, "images")
    ax = show(to_grid(rgb, 10, check_integer(columns, "columns")), ax)
    ax.set_title("Samples from the model")
    return ax


def samples_and_means(
    sources: Mapping[str, tuple[Any, Any]],
    data_shape: Sequence[int],
    *,
    columns: int = 8,
    value_range: Range = (0.0, 1.0),
    figure: Figure | None = None,
) -> Figure:
    """Draw x ~ p(x given z) beside E[x given z], image by image of the same z: eight rows, of several sources five.

    Noise of the likelihood is in the first alone, so that they differ by what the model holds for noise.

    Args:
        sources: By where z is from, such as "z ~ p(z)": draws and means, each of shape (N, D) or (N, *data_shape).
        data_shape: (H, W) or (1, H, W) for grey, (3, H, W) for colour, (4, H, W) for colour with opacity.
        columns: Images a row at most.
        value_range: The data's values for black and for full brightness, in data units.
        figure: Where to draw; a new figure by default.

    Returns:
        The figure, of two panels a source.

    Raises:
        InputError: There is no source, or images don't fit each other or `data_shape`.
    """
    check(len(sources) > 0, "Expected at least one source of z; got none.")
    columns, rows = check_integer(columns, "columns"), 8 if len(sources) == 1 else 5
    pairs = {
        source: [to_grid(to_rgb(images, data_shape, value_range, "images"), rows, columns) for images in pair]
        for source, pair in sources.items()
    }
    panels = _panels(figure, next(iter(pairs.values()))[0], len(pairs), 2)
    for number, (source, (drawn, means)) in enumerate(pairs.items()):
        check(drawn.shape == means.shape, "Expected as many means as draws; got other numbers of them.")
        left, right = panels[2 * number : 2 * number + 2]
        show(drawn, left).set_title(f"draws x ~ p(x|z), {source}", fontsize="medium")
        show(means, right).set_title("means E[x|z], same z", fontsize="medium")
    return left.figure  # type: ignore[return-value]


def samples_by_source(
    sources: Mapping[str, Any],
    data_shape: Sequence[int],
    *,
    columns: int = 8,
    value_range: Range = (0.0, 1.0),
    figure: Figure | None = None,
) -> Figure:
    """Draw images that were decoded from z of several sources, a panel each, of eight rows.

    Args:
        sources: By where z is from, such as "z ~ mixture": images of shape (N, D) or (N, *data_shape).
        data_shape: (H, W) or (1, H, W) for grey, (3, H, W) for colour, (4, H, W) for colour with opacity.
        columns: Images a row at most.
        value_range: The data's values for black and for full brightness, in data units.
        figure: Where to draw; a new figure by default.

    Returns:
        The figure.

    Raises:
        InputError: There is no source, or images don't fit `data_shape`.
    """
    check(len(sources) > 0, "Expected at least one source of z; got none.")
    columns = check_integer(columns, "columns")
    grids = {
        source: to_grid(to_rgb(images, data_shape, value_range, "images"), 8, columns)
        for source, images in sources.items()
    }
    panels = _panels(figure, next(iter(grids.values())), 1, len(grids))
    for ax, (source, grid) in zip(panels, grids.items(), strict=True):
        show(grid, ax).set_title(source, fontsize="medium")
    return panels[0].figure  # type: ignore[return-value]


def best_and_worst(
    groups: Mapping[str, tuple[Any, Any, Any]],
    data_shape: Sequence[int],
    *,
    columns: int = 10,
    value_range: Range = (0.0, 1.0),
    figure: Figure | None = None,
) -> Figure:
    """Draw rows that were chosen by a number, such as log p(x), above their reconstructions and the number.

    Args:
        groups: By name, such as "best": rows and reconstructions, each of shape (N, D) or (N, *data_shape), and the
            numbers, shape (N,); see `ranked`.
        data_shape: (H, W) or (1, H, W) for grey, (3, H, W) for colour, (4, H, W) for colour with opacity.
        columns: Images of a group at most.
        value_range: The data's values for black and for full brightness, in data units.
        figure: Where to draw; a new figure by default.

    Returns:
        The figure, a panel a group.

    Raises:
        InputError: There is no group, or the shapes don't fit each other or `data_shape`.
    """
    check(len(groups) > 0, "Expected at least one group of rows; got none.")
    check_integer(columns, "columns")
    longest = max((to_rgb(rows, data_shape, value_range, "rows") for rows, *_ in groups.values()), key=len)
    model = np.concatenate([longest[:columns]] * 2)
    panels = _panels(figure, to_grid(model, 2, len(model) // 2), len(groups), 1)
    for ax, (name, (rows, means, values)) in zip(panels, groups.items(), strict=True):
        numbers = to_array(values).ravel()[:columns]
        reconstructions(rows, means, data_shape, pairs=1, columns=columns, value_range=value_range, ax=ax)
        grid = to_grid(to_rgb(rows, data_shape, value_range, "rows"), 1, columns)
        ax.set_title(name, loc="left", fontsize="medium")
        ax.set_title("")
        ax.set_xticks(centres(grid, 1), _short(numbers), fontsize="small")
    return panels[0].figure  # type: ignore[return-value]


def ranked(values: Any, count: int) -> dict[str, np.ndarray]:
    """Return the numbers of the best, the middle and the worst rows by a value, the larger the better.

    Args:
        values: Of each row, shape (N,); rows whose value is NaN have no rank.
        count: Rows of each group; a third of those with a rank where they are fewer, at least one.

    Returns:
        By "best", "median" and "worst": numbers of rows in falling order of their value, but the worst one first.

    Raises:
        InputError: No value is a number.
    """
    array = to_array(values)
    order = np.argsort(-array, kind="stable")[: np.count_nonzero(~np.isnan(array))]
    check(len(order) > 0, "Expected at least one value that is a number; got none.")
    count = min(check_integer(count, "count"), max(1, len(order) // 3))
    middle = (len(order) - count) // 2
    return {
        "best": order[:count],
        "median": order[middle : middle + count],
        "worst": order[::-1][:count].copy(),
    }


def _panels(figure: Figure | None, grid: np.ndarray, rows: int, columns: int) -> list[Axes]:
    """Return axes for so many grids, row by row."""
    if figure is None:
        return new_panels(grid, rows, columns)
    return list(figure.subplots(rows, columns, squeeze=False).ravel())


def _short(numbers: np.ndarray) -> list[str]:
    """Return numbers with one digit after the point, two where all are below 1, none where one of them is long."""
    largest = np.abs(numbers[np.isfinite(numbers)]).max(initial=0)
    digits = 0 if largest >= 1000 else 1 if largest >= 1 else 2
    return [f"{number:.{digits}f}".replace("-", "\N{MINUS SIGN}") for number in numbers]
