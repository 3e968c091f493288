"""A run and the rows to use it on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pyro_vae._checks import InputError, check
from pyro_vae.data import Split
from pyro_vae.data.contexts import ClassContext
from pyro_vae.data.row_format import RowFormat
from pyro_vae.experiment.load_run import Run, load_run
from pyro_vae.experiment.rows_of_run import rows_of_run, training_data
from pyro_vae.training import resolve_device

__all__ = ["RunInputs", "class_number", "format_of", "open_rows", "open_run"]


def open_run(folder: Path, device: str) -> Run:
    """Return a run on a device: "auto", "cpu" or "cuda"."""
    return load_run(folder, resolve_device(device))


def format_of(run: Run, folder: Path) -> RowFormat:
    """Return the format of the training rows; for runs of version 0.1.0 from their data, which must be readable."""
    return run.row_format or RowFormat.of(training_data(run, folder))


@dataclass(frozen=True)
class RunInputs:
    """A run and the rows to use it on.

    Attributes:
        run: The run.
        row_format: Format of its training rows.
        split: The rows, all with a class if the run has classes.
        notes: Notes on their file.
    """

    run: Run
    row_format: RowFormat
    split: Split
    notes: tuple[str, ...]

    def tensors(self) -> tuple[Tensor, ...]:
        """Return x and context on the device of the run."""
        device = next(self.run.model.parameters()).device
        return tuple(part.to(device) for part in self.split.tensors())

    def select(self, rows: NDArray[np.int64]) -> RunInputs:
        """Return some of the rows."""
        return replace(self, split=self.split.select(rows))

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """Names of the classes that labels index; None if labels are names."""
        context = self.row_format.context
        return context.classes if isinstance(context, ClassContext) else self.row_format.class_names

    def labels(self) -> NDArray[Any] | None:
        """Return the class name of each row, or None without labels."""
        if self.split.labels is None:
            return None
        labels = self.split.labels.numpy()
        names = self.class_names
        known = names is not None and labels.min() >= 0 and labels.max() < len(names)
        return np.array(names, dtype=object)[labels] if known else labels


def open_rows(folder: Path, data: Path | None, device: str = "auto") -> RunInputs:
    """Return a run and the rows to use it on.

    Rows without a class get the most probable one as context if the run is semi-supervised.

    Args:
        folder: The run folder.
        data: A file, a folder or the name of a data set; the run's test rows if None.
        device: "auto", "cpu" or "cuda".

    Raises:
        InputError: If the run or the rows cannot be read, or do not match.
    """
    run = open_run(folder, device)
    row_format, split, notes = rows_of_run(run, folder, data)
    if isinstance(row_format.context, ClassContext) and row_format.context.partial:
        guide: Any = run.guide
        x = split.tensor().to(next(run.model.parameters()).device)
        split = split.with_context(guide.fill(x).cpu())
    return RunInputs(run, row_format, split, notes)


def class_number(row_format: RowFormat, name: str) -> int:
    """Return the index of a class given by its name or index.

    Raises:
        InputError: If the run has no classes, or no such class.
    """
    context = row_format.context
    if not isinstance(context, ClassContext):
        raise InputError(
            "Expected no --class, as the run was not trained with --context label; leave it out, or use such a run."
        )
    classes = context.classes
    if name in classes:
        return classes.index(name)
    number = int(name) if name.isdecimal() else len(classes)
    shown = ", ".join(classes[:20]) + (", ..." if len(classes) > 20 else "")
    check(number < len(classes), f"Expected --class to be one of {shown}; got {name!r}.")
    return number
