"""The same rows of images several times, below one another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes

from pyro_vae._checks import check, check_integer
from pyro_vae.plots._mosaic import Range, show_interleaved, to_rgb

__all__ = ["denoising"]


def denoising(
    images: Mapping[str, Any],
    data_shape: Sequence[int],
    *,
    blocks: int = 2,
    columns: int = 10,
    value_range: Range = (0.0, 1.0),
    ax: Axes | None = None,
) -> Axes:
    """Draw rows below one another, such as clean, corrupted and denoised ones, image by image.

    Args:
        images: By label, from top to bottom: each of shape (N, D) or (N, *data_shape), row for row; the first
            `blocks * columns` are drawn.
        data_shape: (H, W) or (1, H, W) for grey, (3, H, W) for colour, (4, H, W) for colour with opacity.
        blocks: How often the labels are repeated at most, with further rows.
        columns: Images a row at most.
        value_range: The data's values for black and for full brightness, in data units.
        ax: Where to draw; a new figure by default.

    Returns:
        The axes.

    Raises:
        InputError: There is nothing to draw, or the shapes don't fit each other or `data_shape`.
    """
    check(len(images) > 0, "Expected at least one label with images; got none.")
    rgb = {label: to_rgb(rows, data_shape, value_range, label) for label, rows in images.items()}
    counts = {len(rows) for rows in rgb.values()}
    check(len(counts) == 1, f"Expected as many images of each label; got {sorted(counts)}.")
    blocks, columns = check_integer(blocks, "blocks"), check_integer(columns, "columns")
    ax = show_interleaved(rgb, blocks, columns, ax)
    ax.set_title("Denoising")
    return ax
