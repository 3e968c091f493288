"""Inpainting of images by a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from pyro_vae import plots
from pyro_vae._checks import InputError, check
from pyro_vae._commands import command
from pyro_vae.data.contexts import ClassContext, EntryContext
from pyro_vae.data.preprocessing import Dequantize, Preprocessing
from pyro_vae.data.row_format import RowFormat
from pyro_vae.data.stored_units import in_stored_units, stored_scale
from pyro_vae.evaluate import Imputation
from pyro_vae.evenly_spaced import evenly_spaced_rows
from pyro_vae.experiment.text_table import format_table
from pyro_vae.experiment.uses.open_use import RunInputs, open_rows
from pyro_vae.experiment.uses.output import Output, is_image, range_of
from pyro_vae.statistics import mean_and_se
from pyro_vae.storage import write_atomically
from pyro_vae.uses import inpaint_rows

__all__ = ["HALVES", "hidden_entries", "inpaint_to"]

HALVES = ("left", "right", "top", "bottom")
SHOWN, SHOWN_DRAWS = 10, 4
"""Maximum number of images in a picture, and of draws of each."""


def hidden_entries(hide: str, data_shape: tuple[int, ...]) -> Tensor:
    """Return which entries of a row are hidden, bool (data_dim,).

    Args:
        hide: One of `HALVES`, or the path of a .npy array of shape (height, width) or `data_shape` that is nonzero at
            hidden pixels.
        data_shape: (height, width) or (channels, height, width).

    Raises:
        InputError: If there is no such half or array, or no or all pixels are hidden.
    """
    height, width = data_shape[-2:]
    mask = torch.zeros(height, width, dtype=torch.bool)
    if hide in HALVES:
        part = {
            "left": (slice(None), slice(width // 2)),
            "right": (slice(None), slice(width // 2, None)),
            "top": (slice(height // 2), slice(None)),
            "bottom": (slice(height // 2, None), slice(None)),
        }[hide]
        mask[part] = True
    else:
        mask = _read_mask(hide, data_shape)
    flat = mask.expand(data_shape).flatten()
    check(
        bool(flat.any() and not flat.all()),
        f"Expected --hide to hide some pixels but not all; it hides {int(flat.sum())} of {len(flat)}.",
    )
    return flat


def _read_mask(hide: str, data_shape: tuple[int, ...]) -> Tensor:
    path, wanted = Path(hide).expanduser(), f"{', '.join(HALVES)} or a .npy file"
    check(path.suffix == ".npy" and path.is_file(), f"Expected --hide to be {wanted}; got {hide}.")
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise InputError(f"Could not read {path} as a NumPy array ({error}). Save it again.") from None
    check(
        array.shape in (data_shape, data_shape[-2:]) and array.dtype.kind in "biuf",
        f"Expected a mask of shape {data_shape[-2:]} or {data_shape} in {path}; got {array.shape}, {array.dtype}.",
    )
    return torch.from_numpy(np.asarray(array != 0))


def inpaint_to(
    folder: Path,
    data: Path | None,
    out: Path,
    hide: str,
    *,
    num_rows: int | None = None,
    num_samples: int = 1000,
    num_draws: int = 0,
    seed: int = 0,
    device: str = "auto",
) -> str:
    """Hide pixels of images, fill them in by a run, write the images and return a summary in words.

    Args:
        folder: The run folder, on images.
        data: A file, a folder or the name of a data set; the run's test rows if None.
        out: Output file, .npy (with .sd.npy, .draws.npy and .rows.csv beside it), .csv or .png, or a folder of images.
        hide: Hidden pixels, see `hidden_entries`.
        num_rows: Number of evenly spaced rows; by default all, or ten in a picture.
        num_samples: Samples of z for each row.
        num_draws: Completed images to draw for each row; a picture shows four if 0.
        seed: Seed of all noise.
        device: "auto", "cpu" or "cuda".

    Raises:
        InputError: If the run is not on images, or a file cannot be read or written.
    """
    used = open_rows(folder, data, device)
    row_format = used.row_format
    _check_images(folder, row_format)
    output = Output.at(out, row_format)
    hidden = hidden_entries(hide, row_format.data_shape)
    if output.kind == "picture":
        num_rows, num_draws = min(num_rows or SHOWN, SHOWN), num_draws or SHOWN_DRAWS
    used = used if num_rows is None else used.select(evenly_spaced_rows(len(used.split), num_rows))
    x, *context = used.tensors()
    given = x.masked_fill(hidden.to(x.device), torch.nan)
    found = inpaint_rows(
        used.run.model, used.run.guide, (given, *context), num_samples,
        num_draws=num_draws, seed=seed, progress=True,
    )  # fmt: skip

    def picture() -> Figure:
        return _picture(used, x.cpu(), given.cpu(), found, hide)

    classes = context[0] if isinstance(row_format.context, ClassContext) else None
    visible = _without_noise(x.cpu().double(), row_format.preprocessing)
    output.write_rows(
        torch.where(hidden, found.value, visible), row_format, picture, drawn=False, classes=classes
    )
    written = [out, *(_write_beside(output, used, found) if output.kind == "array" else [])]
    return "\n".join(
        [*_described(used, x.cpu(), hidden, found, num_samples), *(f"written: {p}" for p in written)]
    )


def _without_noise(x: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Return dequantized rows with each entry moved to the middle of its level."""
    if not isinstance(preprocessing, Dequantize):
        return x
    return ((preprocessing.levels * x).floor() + 0.5) / preprocessing.levels


def _check_images(folder: Path, row_format: RowFormat) -> None:
    check(
        is_image(row_format),
        f"Expected a run on images; {folder} was trained on rows of shape {row_format.data_shape}. For tables "
        f"use `{command('impute')}`.",
    )
    check(
        not isinstance(row_format.context, EntryContext),
        f"Expected a run on whole images; in {folder} some pixels are context for the others: see "
        f"`{command('generate')}`.",
    )


def _picture(used: RunInputs, x: Tensor, given: Tensor, found: Imputation, hide: str) -> Figure:
    low, high = range_of(used.row_format, x)
    images: dict[str, Any] = {"data": x, "given": given.nan_to_num((low + high) / 2), "mean": found.value}
    images |= {f"draw {number + 1}": draw for number, draw in enumerate(found.draws)}
    shape = used.row_format.data_shape
    ax = plots.denoising(images, shape, blocks=1, columns=SHOWN, value_range=(low, high))
    what = f"{hide} half" if hide in HALVES else "part"
    ax.set_title(
        f"{used.split.name} rows: {what} hidden, mean and draws of p(hidden | given)", fontsize="medium"
    )
    return ax.figure  # type: ignore[return-value]


def _write_beside(output: Output, used: RunInputs, found: Imputation) -> list[Path]:
    """Write standard deviations, draws and effective samples beside an array."""
    shape, preprocessing = used.row_format.data_shape, used.row_format.preprocessing
    names = [output.path.with_suffix(ending) for ending in (".sd.npy", ".rows.csv", ".draws.npy")]
    spread = found.sd.numpy() * stored_scale(preprocessing)
    output.write_array(spread.astype(np.float32).reshape(-1, *shape), names[0])
    lines = [
        "row,effective_samples",
        *(f"{row},{ess:.6g}" for row, ess in zip(used.split.index, found.ess, strict=True)),
    ]
    with write_atomically(names[1]) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
    if not len(found.draws):
        return names[:2]
    drawn = in_stored_units(found.draws.flatten(0, 1), preprocessing, drawn=True)
    output.write_array(drawn.reshape(len(found.draws), -1, *shape), names[2])
    return names


def _described(used: RunInputs, x: Tensor, hidden: Tensor, found: Imputation, num_samples: int) -> list[str]:
    mean = used.row_format.mean[hidden]
    errors = {
        "mean given the visible pixels": found.value[:, hidden] - x[:, hidden],
        "mean of the training rows": mean - x[:, hidden],
    }
    cells = [["hidden pixels", "mean squared error", "± se"]]
    for name, error in errors.items():
        value, se = mean_and_se(error.double().square().mean(1))
        cells.append([name, f"{value:.5f}", f"{se:.5f}"])
    ess = found.ess
    return [
        f"{len(x)} rows of {used.split.name}, {used.split.description}; {int(hidden.sum())} of {len(hidden)} hidden",
        format_table(cells),
        f"effective samples of {num_samples}: median {float(ess.median()):.0f}, minimum {float(ess.min()):.1f}",
    ]
