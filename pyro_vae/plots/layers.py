"""Images redrawn layer by layer, for models of several latent layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from pyro_vae._checks import check
from pyro_vae.plots._canvas import to_array
from pyro_vae.plots._mosaic import Range, centres, show, to_rgb


def redrawn_layers(
    groups: Mapping[str, Any],
    data_shape: Sequence[int],
    *,
    value_range: Range = (0.0, 1.0),
    ax: Axes | None = None,
) -> Axes:
    """Draw images in groups of columns: the data, then reconstructions with more and more layers resampled.

    Args:
        groups: By group title, such as "z2 kept": images of shape (rows, columns, D), with the same rows in each
            group.
        data_shape: (H, W) or (1, H, W) for grey, (3, H, W) for colour, (4, H, W) for colour with opacity.
        value_range: Data values of black and of full brightness.
        ax: Axes to draw into; a new figure by default.

    Returns:
        The axes.

    Raises:
        InputError: If there is no group, or the images do not match each other or `data_shape`.
    """
    check(len(groups) > 0, "Expected at least one group of images; got none.")
    arrays = {name: to_array(images) for name, images in groups.items()}
    rows = {array.shape[:1] for array in arrays.values() if array.ndim == 3}
    check(
        len(rows) == 1 and all(array.ndim == 3 for array in arrays.values()),
        "Expected images of shape (rows, columns, D), with the same number of rows in each group; got "
        f"{', '.join(str(array.shape) for array in arrays.values())}.",
    )
    parts: list[np.ndarray] = []
    places: list[float] = []
    for name, array in arrays.items():
        rgb = to_rgb(array.reshape(-1, array.shape[-1]), data_shape, value_range, name)
        grid = rgb.reshape(*array.shape[:2], *rgb.shape[1:])
        before = sum(part.shape[1] for part in parts)
        places.append(before + (grid.shape[1] - 1) / 2)
        parts += [grid, np.full_like(grid[:, :1], np.nan)]
    grid = np.concatenate(parts[:-1], axis=1)
    ax = show(grid, ax)
    at = centres(grid, 1)
    ax.set_xticks(np.interp(places, np.arange(len(at)), at), list(arrays))
    ax.tick_params(labeltop=True, labelbottom=False)
    return ax
