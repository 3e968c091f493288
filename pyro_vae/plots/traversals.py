"""Latent traversals: images decoded along dimensions of z."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from scipy.special import ndtri

from pyro_vae._checks import check, check_integer
from pyro_vae.plots._canvas import VERMILION, to_rows
from pyro_vae.plots._mosaic import Range, centres, frame, show, to_grid, to_rgb


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
    """Draw the decoded means on a grid over two latent dimensions, the others at their median.

    Both dimensions step through quantiles of the prior, z = F^-1(u) with u from 0.01 to 0.99 in equal steps, so that
    each image represents the same prior mass (Kingma & Welling 2014, figure 4). With one latent dimension the grid is
    a single row.

    Args:
        decode: Maps float64 latents of shape (n, latent_dim) to means of shape (n, D) or (n, *data_shape).
        latent_dim: Size of z.
        data_shape: (H, W) or (1, H, W) for grey, (3, H, W) for colour, (4, H, W) for colour with opacity.
        dims: The horizontal and the vertical dimension.
        steps: Number of steps along each dimension.
        prior_draws: Draws from the prior, shape (num_draws, latent_dim), for its quantiles by dimension; None for a
            standard normal prior.
        value_range: Data values of black and of full brightness.
        ax: Axes to draw into; a new figure by default.

    Returns:
        The axes.

    Raises:
        InputError: If a dimension is out of range, or the decoded rows do not match `data_shape`.
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
    rgb = to_rgb(decode(z), data_shape, value_range, "the decoded rows")
    grid = to_grid(rgb, steps, steps)
    ax = show(grid, ax)
    ax.set(title="Decoded grid of latents", xlabel=f"z[{dims[0]}]")
    ax.set_xticks(centres(grid, 1), _names(quantiles[:, dims[0]]))
    if len(dims) == 2:
        ax.set_ylabel(f"z[{dims[1]}]")
        ax.set_yticks(centres(grid, 0)[::-1], _names(quantiles[:, dims[1]]))
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


def traversal_rows(
    decode: Callable[[np.ndarray], Any],
    z: Any,
    codes: Any,
    data_shape: Sequence[int],
    *,
    dims: Sequence[int],
    labels: Sequence[str] | None = None,
    steps: int = 11,
    value_range: Range = (0.0, 1.0),
    ax: Axes | None = None,
) -> Axes:
    """Draw the decoded means as one dimension of a code is varied and the others are fixed, one row per dimension.

    Each dimension runs in equal steps from the 1 % to the 99 % quantile of the codes, which are written beside its row.
    The image nearest to the given code has a frame.

    Args:
        decode: Maps float64 latents of shape (n, latent_dim) to means of shape (n, D) or (n, *data_shape).
        z: The code that is varied, shape (latent_dim,).
        codes: Codes of rows, such as draws from q(z | x), shape (N, latent_dim).
        data_shape: (H, W) or (1, H, W) for grey, (3, H, W) for colour, (4, H, W) for colour with opacity.
        dims: The dimensions that are varied, from top to bottom.
        labels: One per dimension; `z[0]`, `z[1]`, ... by default.
        steps: Number of images per row.
        value_range: Data values of black and of full brightness.
        ax: Axes to draw into; a new figure by default.

    Returns:
        The axes.

    Raises:
        InputError: If a dimension is out of range, or the shapes do not match.
    """
    steps, codes, start = check_integer(steps, "steps"), to_rows(codes, "codes"), to_rows([z], "z")[0]
    dims, labels = tuple(dims), [f"z[{d}]" for d in dims] if labels is None else list(labels)
    latent_dim = codes.shape[1]
    check(
        len(start) == latent_dim,
        f"Expected z and codes of one size; got {len(start)} and {latent_dim} columns.",
    )
    check(
        len(dims) > 0 and all(0 <= d < latent_dim for d in dims),
        f"Expected dims to be dimensions of z, from 0 to {latent_dim - 1}; got {dims}.",
    )
    check(
        len(labels) == len(dims), f"Expected a label for each dimension; got {len(labels)} and {len(dims)}."
    )
    ends = np.quantile(codes[:, dims], [0.01, 0.99], axis=0)
    along = np.linspace(ends[0], ends[1], steps)  # (steps, dims)
    path = np.tile(start, (len(dims), steps, 1))
    path[np.arange(len(dims)), :, dims] = along.T
    rgb = to_rgb(decode(path.reshape(-1, latent_dim)), data_shape, value_range, "the decoded rows")
    grid = to_grid(rgb, len(dims), steps)
    ax = show(grid, ax)
    own = np.abs(along - start[list(dims)]).argmin(0)
    frame(ax, grid, np.arange(steps) == own[:, None], color=VERMILION, linewidth=1.5)
    ax.set(title="One dimension of z at a time")
    ax.set_yticks(centres(grid, 0), labels)
    for height, (low, high) in zip(centres(grid, 0), ends.T, strict=True):
        place = ax.get_xlim()[1], height
        text = " to ".join(_names(np.array([low, high])))
        ax.annotate(text, place, (6, 0), textcoords="offset points", va="center", fontsize="small")
    return ax
