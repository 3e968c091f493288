"""Logs of training: the numbers of each epoch in a CSV file, in TensorBoard, or by a function."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from pyro_vae._checks import MissingPackageError
from pyro_vae.storage import StorageError, write_atomically
from pyro_vae.training.callbacks import Callback, TrainerState

__all__ = ["CSVLog", "EpochLog", "TensorBoardLog", "epoch_numbers", "summary_writer"]


def epoch_numbers(line: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of one epoch by flat names, such as "validation/elbo"; terms of the bound in nats per example.

    Args:
        line: A record of `FitResult.history`.
    """
    numbers: dict[str, float] = {}
    for name, value in line.items():
        if isinstance(value, Mapping):
            numbers |= {f"{name}/{part}": float(number) for part, number in value.items()}
        elif name != "epoch":
            numbers[name] = float(value)
    return numbers


class EpochLog(Callback):
    """Pass the numbers of each epoch to a function, for any other logger.

        fit(..., callbacks=[EpochLog(lambda epoch, numbers: wandb.log(numbers, step=epoch))])

    Args:
        log: Function of the epoch, counted from 1, and its numbers (see `epoch_numbers`). In a resumed run it is called
            for epochs after the checkpoint.
    """

    touches_programs = False

    def __init__(self, log: Callable[[int, dict[str, float]], Any]) -> None:
        self.log = log

    def on_epoch(self, trainer: TrainerState) -> None:
        """Log the epoch."""
        line = trainer.history[-1]
        self.log(line["epoch"], epoch_numbers(line))


class CSVLog(Callback):
    """Write a CSV file with one line per epoch; cells of numbers that were not measured are empty.

    A resumed run keeps the lines of epochs up to its checkpoint.

    Args:
        path: The file; an existing file is replaced.

    Raises:
        StorageError: If it cannot be written.
    """

    touches_programs = False

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._columns: list[str] = []

    def on_start(self, trainer: TrainerState) -> None:
        """Write the finished epochs."""
        self._rewrite(trainer.history)

    def on_epoch(self, trainer: TrainerState) -> None:
        """Append the epoch's line; rewrite the file if it has a new number."""
        row = _row(trainer.history[-1])
        if not set(row) <= set(self._columns):
            self._rewrite(trainer.history)
            return
        try:
            with self.path.open("a", encoding="utf-8", newline="") as file:
                file.write(_text(self._columns, [row]))
        except OSError as error:
            raise StorageError(f"Could not write {self.path}: {error.strerror}. Free some space.") from error

    def _rewrite(self, history: Iterable[Mapping[str, Any]]) -> None:
        rows = [_row(line) for line in history]
        self._columns = list(dict.fromkeys(["epoch", *(name for row in rows for name in row)]))
        header = dict(zip(self._columns, self._columns, strict=True))
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"Could not make {self.path.parent}: {error.strerror}.") from error
        with write_atomically(self.path) as temporary:
            temporary.write_text(_text(self._columns, [header, *rows]), encoding="utf-8", newline="")


def _row(line: Mapping[str, Any]) -> dict[str, Any]:
    return {"epoch": line["epoch"]} | epoch_numbers(line)


def _text(columns: list[str], rows: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    csv.DictWriter(text, columns, lineterminator="\n").writerows(rows)
    return text.getvalue()


class TensorBoardLog(Callback):
    """Write scalars for TensorBoard, one point per epoch, flushed after each epoch.

    A resumed run adds an event file, which hides points of epochs after its checkpoint.

    Args:
        folder: Output folder, for `tensorboard --logdir FOLDER`.

    Raises:
        MissingPackageError: If tensorboard is missing.
    """

    touches_programs = False

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._make_writer = summary_writer()

    def on_start(self, trainer: TrainerState) -> None:
        """Open an event file; if there is no older one, write the finished epochs to it."""
        begun = any(self.folder.glob("events.out.tfevents.*"))
        purged = len(trainer.history) + 1 if begun else None
        self._writer = self._make_writer(log_dir=str(self.folder), purge_step=purged)
        for line in () if begun else trainer.history:
            self._add(line)

    def on_epoch(self, trainer: TrainerState) -> None:
        """Add the epoch's points."""
        self._add(trainer.history[-1])
        self._writer.flush()

    def on_end(self, trainer: TrainerState) -> None:
        """Close the file."""
        self._writer.close()

    def _add(self, line: Mapping[str, Any]) -> None:
        for name, value in epoch_numbers(line).items():
            self._writer.add_scalar(name, value, line["epoch"])


def summary_writer() -> Callable[..., Any]:
    """Return torch's writer of TensorBoard events.

    Raises:
        MissingPackageError: If tensorboard is missing.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MissingPackageError(
            "A log for TensorBoard needs the package tensorboard; it is not installed. Install it: pip install "
            "'pyro_vae[tensorboard]'."
        ) from error
    return SummaryWriter
