"""Several versions of the same images in rows below one another."""

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
        images: By label, from top to bottom: arrays of shape (N, D) or (N, *data_shape) in the same row order; the
            first `blocks * columns` rows are drawn.
        data_shape: (H, W) or (1, H, W) for grey, (3, H, W) for colour, (4, H, W) for colour with opacity.
        blocks: Maximum number of repetitions of the labels, each with further rows.
        columns: Maximum number of images per row.
        value_range: Data values of black and of full brightness.
        ax: Axes to draw into; a new figure by default.

    Returns:
        The axes.

    Raises:
        InputError: If there is nothing to draw, or the shapes do not match each other or `data_shape`.
    """
    check(len(images) > 0, "Expected at least one label with images; got none.")
    rgb = {label: to_rgb(rows, data_shape, value_range, label) for label, rows in images.items()}
    counts = {len(rows) for rows in rgb.values()}
    check(len(counts) == 1, f"Expected as many images of each label; got {sorted(counts)}.")
    blocks, columns = check_integer(blocks, "blocks"), check_integer(columns, "columns")
    ax = show_interleaved(rgb, blocks, columns, ax)
    ax.set_title("Denoising")
    return ax
