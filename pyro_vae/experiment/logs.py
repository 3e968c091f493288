"""The logs of a run, in its folder."""

from __future__ import annotations

from collections.abc import Sequence

from pyro_vae.experiment.run_folder import RunFolder
from pyro_vae.training import Callback, CSVLog, TensorBoardLog
from pyro_vae.training.logs import summary_writer

__all__ = ["check_logs", "logs"]


def check_logs(names: Sequence[str]) -> None:
    """Raise `InputError` if a log cannot be written.

    Args:
        names: "csv", "tensorboard" or both.

    Raises:
        MissingPackageError: If tensorboard is named and missing.
    """
    if "tensorboard" in names:
        summary_writer()


def logs(names: Sequence[str], folder: RunFolder) -> list[Callback]:
    """Return the callbacks that write the named logs to a run's folder."""
    made: dict[str, Callback] = {}
    if "csv" in names:
        made["csv"] = CSVLog(folder.csv_log)
    if "tensorboard" in names:
        made["tensorboard"] = TensorBoardLog(folder.tensorboard)
    return [made[name] for name in names]
