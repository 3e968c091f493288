"""The rows that a trained run scores: its test rows, or those of a file."""

from __future__ import annotations

import hashlib
from pathlib import Path

from pyro_vae._checks import InputError, check
from pyro_vae.data import Split
from pyro_vae.data.new_rows import rows_like
from pyro_vae.data.row_format import RowFormat
from pyro_vae.experiment.load_data import load_data
from pyro_vae.experiment.load_run import Run, load_run
from pyro_vae.experiment.run_folder import RunFolder
from pyro_vae.experiment.scoring.scoring import Scoring
from pyro_vae.experiment.scoring.settings import ScoreSettings
from pyro_vae.likelihoods.registry import LIKELIHOODS
from pyro_vae.processes import ALONE, Processes
from pyro_vae.training import resolve_device

__all__ = ["open_scoring"]


def open_scoring(
    folder: Path,
    data: Path | None,
    settings: ScoreSettings,
    out: Path | None,
    device: str = "auto",
    processes: Processes = ALONE,
) -> Scoring:
    """Return the scoring of a run's test rows, or of a file's.

    Args:
        folder: Of the run.
        data: File or folder whose rows are scored instead; all of them.
        settings: How.
        out: Folder to write to; the run's own, or for other data one within it, where None.
        device: "auto", "cpu" or "cuda".
        processes: Those that share the rows.

    Raises:
        InputError: If the folder holds no run or no weights, its data has changed, the rows do not fit, or a
            folder cannot be made.
    """
    run = load_run(folder, resolve_device(device))
    row_format, split, notes = _rows(run, folder, data)
    place = out or (folder if data is None else folder / f"scores-{data.stem}")
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"Could not make the folder {place} ({error.strerror}). Give another by --out."
        ) from None
    weights = hashlib.sha256(RunFolder(folder).weights.read_bytes()).hexdigest()
    return Scoring(run, row_format, split, settings, place, weights, notes, processes)


def _rows(run: Run, folder: Path, data: Path | None) -> tuple[RowFormat, Split, tuple[str, ...]]:
    """Return the rows to score, what the training rows were, and what was noticed.

    Rows of a file need nothing but the run folder, save for a run of version 0.1.0, which does not say what its rows
    were.
    """
    row_format = run.row_format
    if data is None or row_format is None:
        dataset = load_data(run.config)
        was = run.info["data"]["sha256"]
        check(
            was == dataset.sha256,
            f"Expected the data that {folder} was trained on; {dataset.name} has changed since (SHA-256 "
            f"{dataset.sha256[:12]}, was {was[:12]}). Put the old data back, or score a file by --data.",
        )
        row_format = RowFormat.of(dataset)
        if data is None:
            return row_format, dataset.test, ()
    return row_format, *rows_like(data, row_format, LIKELIHOODS[run.config.model.likelihood].kind)
