"""Plots of images: reconstructions, samples, and best and worst rows."""

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
        reconstructions: Same shape and row order; usually means of p(x | z).
        data_shape: (H, W) or (1, H, W) for grey, (3, H, W) for colour, (4, H, W) for colour with opacity.
        pairs: Maximum number of pairs of image rows.
        columns: Maximum number of images per row.
        value_range: Data values of black and of full brightness.
        ax: Axes to draw into; a new figure by default.

    Returns:
        The axes.

    Raises:
        InputError: If the shapes do not match each other or `data_shape`.
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
        columns: Maximum number of images per row.
        value_range: Data values of black and of full brightness.
        ax: Axes to draw into; a new figure by default.

    Returns:
        The axes.

    Raises:
        InputError: If `images` does not match `data_shape`.
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
    """Draw x ~ p(x | z) beside E[x | z] for the same z: eight rows of images, or five for several sources.

    Only the draws contain the noise of the likelihood.

    Args:
        sources: By the distribution of z, such as "z ~ p(z)": draws and means, each of shape (N, D) or (N,
            *data_shape).
        data_shape: (H, W) or (1, H, W) for grey, (3, H, W) for colour, (4, H, W) for colour with opacity.
        columns: Maximum number of images per row.
        value_range: Data values of black and of full brightness.
        figure: Figure to draw into; a new one by default.

    Returns:
        The figure, with two panels per source.

    Raises:
        InputError: If there is no source, or images do not match each other or `data_shape`.
    """
    check(len(sources) > 0, "Expected at least one source of z; got none.")
    columns, rows = check_integer(columns, "columns"), 8 if len(sources) == 1 else 5
    pairs = {
        source: [to_grid(to_rgb(images, data_shape, value_range, "images"), rows, columns) for images in pair]
        for source, pair in sources.items()
    }
    panels = _panels(figure, next(iter(pairs.values()))[0], len(pairs), 2)
    for number, (source, (drawn, means)) in enumerate(pairs.items()):
        counts = [len(images) for images in sources[source]]
        check(
            drawn.shape == means.shape, f"Expected as many draws as means; got {counts[0]} and {counts[1]}."
        )
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
    """Draw images decoded from z of several sources, one panel of eight rows for each.

    Args:
        sources: By the distribution of z, such as "z ~ mixture": images of shape (N, D) or (N, *data_shape).
        data_shape: (H, W) or (1, H, W) for grey, (3, H, W) for colour, (4, H, W) for colour with opacity.
        columns: Maximum number of images per row.
        value_range: Data values of black and of full brightness.
        figure: Figure to draw into; a new one by default.

    Returns:
        The figure.

    Raises:
        InputError: If there is no source, or images do not match `data_shape`.
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
    """Draw rows selected by a score, such as log p(x), with their reconstructions and scores below.

    Args:
        groups: By name, such as "best": rows and reconstructions, each of shape (N, D) or (N, *data_shape), and the
            numbers, shape (N,); see `ranked`.
        data_shape: (H, W) or (1, H, W) for grey, (3, H, W) for colour, (4, H, W) for colour with opacity.
        columns: Maximum number of images per group.
        value_range: Data values of black and of full brightness.
        figure: Figure to draw into; a new one by default.

    Returns:
        The figure, with one panel per group.

    Raises:
        InputError: If there is no group, or the shapes do not match each other or `data_shape`.
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
    """Return the indices of the best, median and worst rows by a value; larger is better.

    Args:
        values: One value per row, shape (N,); NaN rows are not ranked.
        count: Rows per group; at most a third of the ranked rows, at least one.

    Returns:
        Row indices by "best", "median" and "worst": in decreasing order of value; the worst row comes first.

    Raises:
        InputError: If all values are NaN.
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
    """Return `rows` x `columns` axes for grids, row by row."""
    if figure is None:
        return new_panels(grid, rows, columns)
    return list(figure.subplots(rows, columns, squeeze=False).ravel())


def _short(numbers: np.ndarray) -> list[str]:
    """Format numbers with one decimal; two if all are below 1, none if one of them is long."""
    largest = np.abs(numbers[np.isfinite(numbers)]).max(initial=0)
    digits = 0 if largest >= 1000 else 1 if largest >= 1 else 2
    return [f"{number:.{digits}f}".replace("-", "\N{MINUS SIGN}") for number in numbers]
