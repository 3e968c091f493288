"""Generation of new rows by a run."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor

from pyro_vae import plots
from pyro_vae._checks import check_integer
from pyro_vae.data.contexts import ClassContext, EntryContext
from pyro_vae.data.row_format import RowFormat
from pyro_vae.evaluate.samples import sampling_model
from pyro_vae.evenly_spaced import evenly_spaced_rows
from pyro_vae.experiment.load_run import Run
from pyro_vae.experiment.rows_of_run import training_data
from pyro_vae.experiment.uses.open_use import class_number, format_of, open_run
from pyro_vae.experiment.uses.output import Output, range_of, whole_rows
from pyro_vae.uses import generate_rows

__all__ = ["generate_to"]

COLUMNS, MOST = 10, 100
"""Maximum number of columns and of images in a picture."""


def generate_to(
    folder: Path,
    out: Path,
    num_rows: int,
    *,
    class_name: str | None = None,
    source: str | None = None,
    values: str = "auto",
    seed: int = 0,
    device: str = "auto",
) -> str:
    """Draw rows from a run, write them and return a summary in words.

    Args:
        folder: The run folder.
        out: Output file, .npy, .csv or .png, or a folder of images.
        num_rows: Number of rows.
        class_name: Name or index of the class; with None all classes in turn, if the run has classes.
        source: Distribution of z, "prior" or "mixture"; the run's first choice if None.
        values: "draws" of p(x | z), its "means", or "auto": means in pictures, draws in arrays and tables.
        seed: Seed of all draws.
        device: "auto", "cpu" or "cuda".

    Raises:
        InputError: If an argument is out of range, the run cannot be read, or the file cannot be written.
    """
    check_integer(num_rows, "-n")
    run = open_run(folder, device)
    row_format = format_of(run, folder)
    output = Output.at(out, row_format)
    number = None if class_name is None else class_number(row_format, class_name)
    context = _context(run, folder, row_format, number, num_rows)
    source = source or next(iter(run.config.run.sample_from), "prior")
    train = training_data(run, folder).train if source == "mixture" else None
    model = sampling_model(run.model, run.guide, train, source)
    means = output.is_shown if values == "auto" else values == "means"
    x = generate_rows(model, num_rows, *context, means=means, seed=seed, progress=True)
    rows = whole_rows(row_format, x, context)
    what = "means E[x|z]" if means else "draws x ~ p(x|z)"
    drawn_from = f"z ~ {'p(z)' if source == 'prior' else 'mixture fitted to codes'}"

    def picture() -> Figure:
        columns = min(COLUMNS, math.ceil(math.sqrt(len(rows))))
        ax = plots.samples(
            rows, row_format.data_shape, columns=columns, value_range=range_of(row_format, rows)
        )
        ax.set_title(f"{what}, {drawn_from}", fontsize="medium")
        return ax.figure  # type: ignore[return-value]

    classes = context[0] if isinstance(row_format.context, ClassContext) else None
    output.write_rows(rows, row_format, picture, drawn=not means, classes=classes)
    lines = [f"{num_rows} rows: {what}, {drawn_from}, seed {seed}"]
    lines += [f"the picture shows the first {MOST}"] if output.kind == "picture" and num_rows > MOST else []
    return "\n".join([*lines, f"written: {out}"])


def _context(
    run: Run, folder: Path, row_format: RowFormat, number: int | None, num_rows: int
) -> tuple[Tensor, ...]:
    """Return the context of each row: classes, or the given entries of evenly spaced test rows."""
    device = next(run.model.parameters()).device
    context = row_format.context
    if isinstance(context, ClassContext):
        numbers = torch.arange(num_rows) % context.dim if number is None else torch.full((num_rows,), number)
        return (numbers.to(device),)
    if isinstance(context, EntryContext):
        test = training_data(run, folder).test
        chosen = torch.from_numpy(evenly_spaced_rows(len(test), min(num_rows, len(test))))
        return (test.context[0][chosen[torch.arange(num_rows) % len(chosen)]].to(device),)
    return ()
