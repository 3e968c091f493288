"""The files of a run folder, by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pyro_vae._checks import InputError, check
from pyro_vae.storage import PARTIAL, StorageError, null_non_finite

__all__ = ["RunFolder"]


class RunFolder:
    """The files of one run, by name.

    Args:
        path: The folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.json"
        self.metrics = path / "metrics.jsonl"
        self.weights = path / "model.safetensors"
        self.state = path / "checkpoint" / "state.pt"
        self.summary = path / "summary.json"
        self.features = path / "features.safetensors"
        self.figures = path / "figures"
        self.csv_log = path / "log.csv"
        self.report = path / "report.html"
        self.tensorboard = path / "tensorboard"

    @classmethod
    def create(cls, path: Path | None, name: str) -> RunFolder:
        """Create the folder of a new run: `path`, or the next free number `runs/NAME-001`, `-002`, ...

        Raises:
            InputError: If `path` already contains files or cannot be created.
        """
        try:
            if path is not None:
                path.mkdir(parents=True, exist_ok=True)
                check(
                    not any(entry.suffix != PARTIAL for entry in path.iterdir()),
                    f"Expected a new or empty folder for --out; {path} holds files. Choose another, or continue with "
                    f"that run by --resume {path}.",
                )
                return cls(path)
            parent = Path("runs")
            parent.mkdir(exist_ok=True)
            number = 1
            while True:
                try:
                    (parent / f"{name}-{number:03d}").mkdir()
                    return cls(parent / f"{name}-{number:03d}")
                except FileExistsError:
                    number += 1
        except OSError as error:
            raise InputError(
                f"Expected a folder to write the run to; {path or Path('runs')} cannot be made or written "
                f"({error.strerror}). Give another by --out."
            ) from None

    def append_metrics(self, line: dict[str, Any]) -> None:
        """Append the line of one epoch."""
        try:
            with self.metrics.open("a", encoding="utf-8") as file:
                file.write(json.dumps(null_non_finite(line)) + "\n")
        except OSError as error:
            raise StorageError(
                f"Could not write {self.metrics}: {error.strerror}. Free some space."
            ) from error
