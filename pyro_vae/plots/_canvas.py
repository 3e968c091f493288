"""Helpers for all plots: input arrays, colours, new axes, and the PNG file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox
from torch.utils.data import DataLoader, Dataset

from pyro_vae._checks import InputError, check
from pyro_vae.data.as_tensor import as_matrix
from pyro_vae.data.entry import Entry
from pyro_vae.data.splits import Split
from pyro_vae.storage import write_atomically

BLUE, VERMILION = "#0072B2", "#D55E00"
"""Two colours of Okabe & Ito (2008), distinguishable under all common forms of colour blindness."""

CLASS_COLORS = (
    *("#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6"),
    *("#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd"),
)
"""Ten colours chosen for colour-blind readers (Petroff 2021, arXiv:2107.02270)."""

DPI, MARGIN = 150, 0.08
"""Resolution of PNG files in dots per inch, and their white margin in inches."""
FAST = {"compress_level": 4}
"""PNG compression level: faster than PIL's default of 6, files a few percent larger."""


def to_array(x: Any) -> np.ndarray:
    """Return `x`, in any container of rows or codes, as a numpy array; floats become float64."""
    if isinstance(x, Split | Dataset | DataLoader | tuple):
        (x,) = Entry(most=1).rows(x)
    if isinstance(x, list) and x and isinstance(x[0], tuple | torch.Tensor):
        (x,) = Entry(most=1).rows(x)
    if hasattr(x, "detach"):
        x = x.detach().cpu()
        x = (x.double() if x.is_floating_point() else x).numpy()  # numpy has no bfloat16
    array = np.asarray(x)
    return array.astype(np.float64) if array.dtype.kind == "f" else array


def to_rows(x: Any, name: str) -> np.ndarray:
    """Return `x` as finite floats of shape (N, D), N and D at least 1, images flattened, or raise."""
    try:
        rows = to_array(x).astype(np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"Expected {name} to hold numbers only; {error}.") from None
    if rows.ndim > 2 and rows.size:
        rows = as_matrix(torch.from_numpy(np.ascontiguousarray(rows)), name)[0].numpy()
    check(
        rows.ndim == 2 and rows.size > 0,
        f"Expected {name} of shape (N, D) with at least one row and one column; got {rows.shape}.",
    )
    check(
        bool(np.isfinite(rows).all()),
        f"Expected {name} to be finite; got {np.count_nonzero(~np.isfinite(rows))} infinite or NaN values. "
        "Drop or impute those rows first.",
    )
    return rows


def shuffle(rows: np.ndarray) -> np.ndarray:
    """Return the rows in a fixed random order, so that no group of points lies on top of the others."""
    return np.random.default_rng(0).permutation(rows)


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of `width` x `height` inches that is not registered with pyplot."""
    return Figure(figsize=(width, height), layout="constrained")


def axes_or_new(ax: Axes | None, width: float, height: float) -> Axes:
    """Return `ax`, or the axes of a new figure of `width` x `height` inches."""
    return new_figure(width, height).add_subplot() if ax is None else ax


def save(figure: Figure, path: str | os.PathLike[str]) -> Path:
    """Write `figure` to `path` as a PNG at 150 dots per inch, atomically.

    Args:
        figure: The figure; for axes `ax`, pass `ax.figure`.
        path: File name ending in `.png`. Missing folders are created; an existing file is replaced.

    Returns:
        The path.

    Raises:
        InputError: If the name does not end in `.png`.
        StorageError: If the file cannot be written; an existing file is then unchanged.
    """
    path = Path(path)
    check(
        path.suffix.lower() == ".png",
        f"Expected a file name ending in .png; got {path.name}. Change the ending.",
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    with write_atomically(path) as temporary:
        _write(figure, temporary)
    return path


def _write(figure: Figure, path: Path) -> None:
    """Write a figure: the full canvas if it has a layout engine, else the area that its artists cover.

    `savefig` with another resolution would run the layout engine again, with text of another size.
    """
    canvas, dpi = figure.canvas, figure.dpi
    figure.dpi = DPI
    try:
        if figure.get_layout_engine() is None:
            figure.savefig(path, format="png", dpi=DPI, bbox_inches=_covered(figure), pil_kwargs=FAST)
        else:
            FigureCanvasAgg(figure).print_png(path, pil_kwargs=FAST)
    finally:
        figure.dpi = dpi
        figure.set_canvas(canvas)


def _covered(figure: Figure) -> Bbox:
    """Return the bounding box of a figure's artists plus a margin, in inches, rounded to whole dots."""
    edges = figure.get_tightbbox().padded(MARGIN).extents
    return Bbox.from_extents(*np.round(edges * DPI) / DPI)
