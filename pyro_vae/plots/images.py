"""Rows of data that are images."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from scipy.special import ndtri

from pyro_vae._checks import check, check_integer
from pyro_vae.plots._canvas import axes_or_new, to_array, to_rows

Range = tuple[float, float]

INCHES = 0.62
"""Width of one image in a new figure: ten of them fill a slide's column."""
TALLEST = 20.0
"""Inches of a new figure at most: of tall, narrow images it is wider than they need."""


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
    upper = _to_rgb(originals, data_shape, value_range, "originals")
    lower = _to_rgb(reconstructions, data_shape, value_range, "reconstructions")
    check(
        len(upper) == len(lower),
        f"Expected as many reconstructions as originals; got {len(lower)} and {len(upper)}.",
    )
    upper = _grid(upper, check_integer(pairs, "pairs"), check_integer(columns, "columns"))
    lower = _grid(lower, pairs, columns)
    grid = np.stack([upper, lower], axis=1).reshape(-1, *upper.shape[1:])
    ax = _show(grid, ax)
    ax.set_yticks(_centres(grid, 0), ["data", "model"] * len(upper))
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
    rgb = _to_rgb(images, data_shape, value_range, "images")
    ax = _show(_grid(rgb, 10, check_integer(columns, "columns")), ax)
    ax.set_title("Samples from the model")
    return ax


def traversal_grid(
    decode: Callable[[np.ndarray], Any],
    latent_dim: int,
    data_shape: Sequence[int],
    *,
    dims: Sequence[int] = (0, 1),
    steps: int = 12,
    prior_draws: Any = None,
    value_range: Range = (0.0, 1.0),
    ax: Axes | None = None,
) -> Axes:
    """Draw what the model decodes from a grid over two latent dimensions, the others at their median.

    Both dimensions step through quantiles of the prior, z = F^-1(u) with u from 0.01 to 0.99 in equal steps,
    so that each image stands for the same share of the prior (Kingma & Welling 2014, figure 4). With one latent
    dimension the grid is a single row.

    Args:
        decode: Maps float64 latents of shape (n, latent_dim) to means of shape (n, D) or (n, *data_shape).
        latent_dim: Size of z.
        data_shape: (H, W) or (1, H, W) for grey, (3, H, W) for colour, (4, H, W) for colour with opacity.
        dims: The dimensions that run to the right and upwards.
        steps: Steps along each dimension.
        prior_draws: Draws from the prior, shape (num_draws, latent_dim), whose quantiles by dimension are taken; those
            of the standard normal where None.
        value_range: The data's values for black and for full brightness, in data units.
        ax: Where to draw; a new figure by default.

    Returns:
        The axes.

    Raises:
        InputError: A dimension is not one of z's, or the decoded rows do not fit `data_shape`.
    """
    steps, dims = check_integer(steps, "steps"), tuple(dims[:latent_dim])
    check(
        0 < len(dims) <= 2 and all(0 <= d < latent_dim for d in dims) and len(set(dims)) == len(dims),
        f"Expected dims to be two different dimensions of z, from 0 to {latent_dim - 1}; got {dims}.",
    )
    quantiles = _quantiles(steps, latent_dim, prior_draws)
    z = np.tile(_quantiles(1, latent_dim, prior_draws), (steps ** len(dims), 1))
    z[:, dims[0]] = np.tile(quantiles[:, dims[0]], len(z) // steps)
    for upwards in dims[1:]:
        z[:, upwards] = np.repeat(quantiles[::-1, upwards], steps)
    rgb = _to_rgb(decode(z), data_shape, value_range, "the decoded rows")
    grid = _grid(rgb, steps, steps)
    ax = _show(grid, ax)
    ax.set(title="Decoded grid of latents", xlabel=f"z[{dims[0]}]")
    ax.set_xticks(_centres(grid, 1), _names(quantiles[:, dims[0]]))
    if len(dims) == 2:
        ax.set_ylabel(f"z[{dims[1]}]")
        ax.set_yticks(_centres(grid, 0)[::-1], _names(quantiles[:, dims[1]]))
    return ax


def _quantiles(steps: int, latent_dim: int, prior_draws: Any) -> np.ndarray:
    """Return quantiles of each dimension of the prior, shape (steps, latent_dim); one step is the median."""
    shares = np.linspace(0.01, 0.99, steps) if steps > 1 else np.array([0.5])
    if prior_draws is None:
        return np.repeat(ndtri(shares)[:, None], latent_dim, axis=1)
    draws = np.asarray(prior_draws, dtype=np.float64)
    check(
        draws.ndim == 2 and draws.shape[1] == latent_dim and len(draws) > 0,
        f"Expected prior_draws of shape (num_draws, {latent_dim}); got {draws.shape}.",
    )
    return np.quantile(draws, shares, axis=0)


def _names(quantiles: np.ndarray) -> list[str]:
    return [f"{round(quantile, 1) + 0.0:.1f}".replace("-", "\N{MINUS SIGN}") for quantile in quantiles]


def _to_rgb(images: Any, data_shape: Sequence[int], value_range: Range, name: str) -> np.ndarray:
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
    if unit.shape[1] == 4:  # laid over white by its opacity
        unit = 1 - unit[:, 3:] * (1 - unit[:, :3])
    return np.broadcast_to(np.moveaxis(unit, 1, -1), (len(rows), *shape[-2:], 3))


def _grid(rgb: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Return the first images as (rows, columns, H, W, 3), white where there are fewer."""
    columns = min(columns, len(rgb))
    rows = min(rows, math.ceil(len(rgb) / columns))
    grid = np.ones((rows * columns, *rgb.shape[1:]))
    grid[: len(rgb)] = rgb[: len(grid)]
    return grid.reshape(rows, columns, *rgb.shape[1:])


def _gap(grid: np.ndarray) -> int:
    """Return the white space between images, in pixels of theirs."""
    return max(1, min(grid.shape[2:4]) // 14)


def _centres(grid: np.ndarray, axis: int) -> np.ndarray:
    """Return where the rows (axis 0) or columns (axis 1) of images have their centres, in pixels."""
    size = grid.shape[2 + axis]
    return np.arange(grid.shape[axis]) * (size + _gap(grid)) + (size - 1) / 2


def _show(grid: np.ndarray, ax: Axes | None) -> Axes:
    """Draw the grid as one picture without frame and ticks."""
    rows, columns, height, width, _ = grid.shape
    gap = _gap(grid)
    padded = np.pad(grid, ((0, 0), (0, 0), (0, gap), (0, gap), (0, 0)), constant_values=1.0)
    picture = padded.swapaxes(1, 2).reshape(rows * (height + gap), columns * (width + gap), 3)
    tall = min(rows * INCHES * height / width + 0.7, TALLEST)
    ax = axes_or_new(ax, max(2.5, columns * INCHES + 0.8), tall)
    ax.imshow(picture[:-gap, :-gap], interpolation="nearest")
    ax.set_xticks([])
    ax.set_yticks([])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    return ax
