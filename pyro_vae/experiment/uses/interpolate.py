"""Interpolation between two codes by a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from matplotlib.figure import Figure
from torch import Tensor

from pyro_vae import plots
from pyro_vae._checks import InputError, check
from pyro_vae.data.contexts import ClassContext
from pyro_vae.experiment.uses.open_use import RunInputs, open_rows
from pyro_vae.experiment.uses.output import Output, range_of, whole_rows
from pyro_vae.uses import encode_rows, great_circle, straight_line

__all__ = ["PATHS", "interpolate_to"]

PATHS: dict[str, Callable[[Tensor, Tensor, int], Tensor]] = {
    "line": straight_line,
    "circle": great_circle,
}


def interpolate_to(
    folder: Path,
    data: Path | None,
    out: Path,
    *,
    rows: tuple[int, int] | None = None,
    classes: tuple[str, str] | None = None,
    path: str = "line",
    num_steps: int = 11,
    seed: int = 0,
    device: str = "auto",
) -> str:
    """Decode codes on a path between two rows or the mean codes of two classes, and return a summary in words.

    Args:
        folder: The run folder, whose latents are continuous.
        data: A file, a folder or the name of a data set; the run's test rows if None.
        out: Output file, .npy, .csv or .png, or a folder of images.
        rows: Indices of two rows, from 0.
        classes: Two classes, by name, in place of rows.
        path: A key of `PATHS`.
        num_steps: Number of rows including both ends.
        seed: Seed of the draws for codes without a formula.
        device: "auto", "cpu" or "cuda".

    Raises:
        InputError: If an argument is out of range, latents are discrete, or a file cannot be read or written.
    """
    check(
        (rows is None) != (classes is None),
        "Expected either --rows, two numbers of rows, or --classes, two classes; got "
        f"{'neither' if rows is None else 'both'}.",
    )
    used = open_rows(folder, data, device)
    output = Output.at(out, used.row_format)
    check(
        used.run.config.model.latent == "gaussian",
        f"Expected a run with continuous latents, which interpolation needs; {folder} has --latent "
        f"{used.run.config.model.latent}.",
    )
    ends = _rows(used, rows, seed) if rows is not None else _means_of_classes(used, classes or ("", ""), seed)
    start, end = ends.codes
    codes = PATHS[path](start, end, num_steps)
    context = tuple(part[:1].expand(num_steps, *part.shape[1:]) for part in ends.context)
    means = whole_rows(used.row_format, used.run.model.decode(codes, *context).mean, context)

    def picture() -> Figure:
        ax = plots.samples(
            means, used.row_format.data_shape, columns=num_steps, value_range=range_of(used.row_format, means)
        )
        ax.set_title(f"{ends.title}: means E[x|z], z on a {_NAMES[path]}", fontsize="medium")
        return ax.figure  # type: ignore[return-value]

    labels = context[0] if isinstance(used.row_format.context, ClassContext) else None
    output.write_rows(means, used.row_format, picture, drawn=False, classes=labels)
    lines = [f"{num_steps} rows from {ends.title}, on a {_NAMES[path]}: means E[x|z]", _norms(codes)]
    lines += [f"context of all: that of {ends.title.partition(' to ')[0]}"] * bool(context)
    return "\n".join([*lines, f"written: {out}"])


def _norms(codes: Tensor) -> str:
    norms = codes.norm(dim=1)
    return f"norms of z: {norms[0]:.3g} at the start, {norms.min():.3g} at least, {norms[-1]:.3g} at the end"


_NAMES = {"line": "straight line", "circle": "great circle"}


class _Ends(NamedTuple):
    """The two ends of a path."""

    codes: Tensor
    """Shape (2, size of z)."""
    context: tuple[Tensor, ...]
    """Context of the path: that of the first row."""
    title: str


def _rows(used: RunInputs, rows: tuple[int, int], seed: int) -> _Ends:
    count = len(used.split)
    check(
        all(0 <= row < count for row in rows),
        f"Expected --rows from 0 to {count - 1}; got {rows[0]} and {rows[1]}.",
    )
    two = used.select(torch.tensor(rows).numpy())
    data = two.tensors()
    codes = encode_rows(used.run.model, used.run.guide, data, seed=seed).mean
    return _Ends(codes, data[1:], f"row {rows[0]} to row {rows[1]}")


def _means_of_classes(used: RunInputs, classes: tuple[str, str], seed: int) -> _Ends:
    labels = used.labels()
    if labels is None:
        raise InputError(
            f"Expected rows with labels for --classes; those of {used.split.name} have none. Give --rows."
        )
    names = [str(label) for label in labels.tolist()]
    means: list[Tensor] = []
    context: Any = ()
    for name in classes:
        own = torch.tensor([number for number, label in enumerate(names) if label == name])
        known = sorted(set(names))
        check(
            len(own) > 0,
            f"Expected --classes to be of {', '.join(known[:20])}; got {name!r}, of which there is no row.",
        )
        data = used.select(own.numpy()).tensors()
        means.append(encode_rows(used.run.model, used.run.guide, data, seed=seed).mean.mean(0))
        context = context or data[1:]
    return _Ends(torch.stack(means), context, f"class {classes[0]} to class {classes[1]}")
