"""The rows that a trained run scores: its test rows, or those of a file."""

from __future__ import annotations

import hashlib
from pathlib import Path

from pyro_vae._checks import InputError
from pyro_vae.experiment.load_run import load_run
from pyro_vae.experiment.rows_of_run import rows_of_run
from pyro_vae.experiment.run_folder import RunFolder
from pyro_vae.experiment.scoring.scoring import Scoring
from pyro_vae.experiment.scoring.settings import ScoreSettings
from pyro_vae.processes import SINGLE_PROCESS, Processes
from pyro_vae.training import resolve_device

__all__ = ["open_scoring"]


def open_scoring(
    folder: Path,
    data: Path | None,
    settings: ScoreSettings,
    out: Path | None,
    device: str = "auto",
    processes: Processes = SINGLE_PROCESS,
) -> Scoring:
    """Return the scoring of a run's test rows, or of the rows of a file.

    Args:
        folder: Folder of the run.
        data: File, folder or named data set whose rows are scored instead; of a file, all rows.
        settings: Settings of the scores.
        out: Folder to write to; if None, the run folder, or a subfolder of it for other data.
        device: "auto", "cpu" or "cuda".
        processes: Processes that share the rows.

    Raises:
        InputError: If the folder contains no run or no weights, its data has changed, the rows do not match, or a
            folder cannot be created.
    """
    run = load_run(folder, resolve_device(device))
    row_format, split, notes = rows_of_run(run, folder, data)
    place = out or (folder if data is None else folder / f"scores-{data.stem}")
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"Could not make the folder {place} ({error.strerror}). Give another by --out."
        ) from None
    weights = hashlib.sha256(RunFolder(folder).weights.read_bytes()).hexdigest()
    return Scoring(run, row_format, split, settings, place, weights, notes, processes)
