"""Denoising of rows by a run."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure
from torch import Tensor

from pyro_vae import plots
from pyro_vae._checks import check
from pyro_vae.data.contexts import ClassContext
from pyro_vae.data.row_format import RowFormat
from pyro_vae.data.stored_units import stored_scale
from pyro_vae.experiment.uses.open_use import open_rows
from pyro_vae.experiment.uses.output import Output, range_of, row_standard_deviations, whole_rows
from pyro_vae.networks.corruption import corruption_of
from pyro_vae.uses import denoise_rows

__all__ = ["denoise_to"]


def denoise_to(
    folder: Path,
    data: Path | None,
    out: Path,
    *,
    num_particles: int = 16,
    seed: int = 0,
    device: str = "auto",
) -> str:
    """Write the mean over particles of E[x | z], z ~ q(z | x~), of noisy rows x~ and return a summary in words.

    Args:
        folder: The run folder.
        data: A file, a folder or the name of a data set; by default the run's test rows, corrupted as in training.
        out: .npy, with the standard deviations as NAME.sd.npy beside it, .csv, .png or a folder of images.
        num_particles: Draws of z for each row.
        seed: Seed of the draws.
        device: "auto", "cpu" or "cuda".

    Raises:
        InputError: If the run or the rows cannot be read, or the file cannot be written.
    """
    used = open_rows(folder, data, device)
    output = Output.at(out, used.row_format)
    corruption = corruption_of(used.run.guide)
    check(
        data is not None or corruption is not None,
        f"Expected rows to denoise, as {folder} was not trained on corrupted ones; give a file of them.",
    )
    x, *context = used.tensors()
    given = corruption.fixed(x) if data is None and corruption is not None else x
    found = denoise_rows(
        used.run.model, used.run.guide, (given, *context),
        num_particles=num_particles, seed=seed, progress=True,
    )  # fmt: skip
    row_format, own = used.row_format, tuple(context)
    before, after = (whole_rows(row_format, rows, own) for rows in (given, found.mean))
    spread = None if found.sd is None else row_standard_deviations(row_format, found.sd)

    def picture() -> Figure:
        title = f"{used.split.name}: mean over {num_particles} particles"
        return _picture(row_format, before, after, spread, title)

    classes = own[0] if isinstance(row_format.context, ClassContext) else None
    output.write_rows(after, row_format, picture, drawn=False, classes=classes)
    lines, written = [f"{len(after)} rows of {used.split.name}, mean over {num_particles} particles"], [out]
    if spread is None:
        lines = [f"{len(after)} rows of {used.split.name}, one code per row (autoencoder)"]
    elif output.kind == "array":
        written.append(out.with_suffix(".sd.npy"))
        stored = spread.cpu().numpy() * stored_scale(row_format.preprocessing)
        output.write_array(stored.reshape(-1, *row_format.data_shape), written[-1])
    lines += ["note: the run was not trained on corrupted rows"] * (corruption is None)
    lines += [f"note: {note}" for note in used.notes]
    return "\n".join([*lines, *(f"written: {path}" for path in written)])


def _picture(
    row_format: RowFormat, before: Tensor, after: Tensor, spread: Tensor | None, title: str
) -> Figure:
    """Draw noisy rows, denoised rows, and standard deviations from black (0) to white (the largest)."""
    low, high = value_range = range_of(row_format, after)
    images = {"given": before, "denoised": after}
    if spread is not None:
        largest = max(float(spread.max()), 1e-12)
        images["sd"], title = low + spread / largest * (high - low), f"{title}; white in sd is {largest:.2g}"
    ax = plots.denoising(images, row_format.data_shape, value_range=value_range)
    ax.set_title(title, fontsize="medium")
    return ax.figure  # type: ignore[return-value]
