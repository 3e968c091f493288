"""The scores of rows, written to disk block by block."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from pyro_vae.data import Preprocessing
from pyro_vae.data.units import bits_per_dim
from pyro_vae.storage import StorageError

__all__ = ["ScoreFile"]


class ScoreFile:
    """`scores.csv`: one line per row, in order.

    Args:
        path: The file.
        data_dim: Size of one row.
        preprocessing: Preprocessing of the rows; for integers the scores are also given in bits per dimension.
    """

    def __init__(self, path: Path, data_dim: int, preprocessing: Preprocessing) -> None:
        self.path, self.data_dim, self.preprocessing = path, data_dim, preprocessing
        self.header = "row,log_likelihood,se,ess,khat,elbo" + ",bits_per_dim" * (
            preprocessing.levels is not None
        )

    def start(self) -> None:
        """Start a new file."""
        self._write("w", [self.header])

    def append(self, first_row: int, columns: Tensor) -> None:
        """Append the scores, shape (5, rows), of the rows from `first_row` on."""
        lines = []
        for row, scores in enumerate(columns.T.tolist(), first_row):
            bits = bits_per_dim(scores[0], self.data_dim, self.preprocessing)
            lines.append(",".join(map(repr, [row, *scores] if bits is None else [row, *scores, bits])))
        self._write("a", lines)

    def read(self) -> Tensor | None:
        """Return the scores, shape (5, rows), of the complete lines; an interruption may truncate the last one."""
        try:
            text = self.path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return None
        header, *lines = text[: text.rfind("\n") + 1].splitlines() or [""]
        try:
            numbers = [[float(entry) for entry in line.split(",")] for line in lines]
            columns = torch.tensor(numbers, dtype=torch.float64).T
        except ValueError:
            return None
        if header != self.header or not lines or columns[0].tolist() != list(range(len(lines))):
            return None
        return columns[1:6]

    def _write(self, mode: str, lines: list[str]) -> None:
        try:
            with self.path.open(mode, encoding="utf-8") as file:
                file.write("".join(f"{line}\n" for line in lines))
        except OSError as error:
            raise StorageError(f"Could not write {self.path}: {error.strerror}. Free some space.") from error
