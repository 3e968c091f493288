"""Ranking of the rows of a table by anomaly scores of a trained run, and the most unusual cells of each row."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyro_vae._checks import InputError, check
from pyro_vae.data import Split
from pyro_vae.data.column_values import observed_text
from pyro_vae.data.dates import as_date
from pyro_vae.data.named_frames import frame_like
from pyro_vae.data.table_files import TABLE_ENDINGS, is_table_file
from pyro_vae.data.table_options import AS_FOUND, TableOptions
from pyro_vae.evaluate import CellScores, LogLikelihood, cell_log_likelihood, log_likelihood
from pyro_vae.evaluate.anomalies import Detection, detection, typicality
from pyro_vae.experiment.load_data import load_data
from pyro_vae.experiment.scoring import Scoring
from pyro_vae.experiment.text_table import format_table, nats
from pyro_vae.storage import write_atomically, write_json

__all__ = ["Anomalies", "anomaly_labels"]

REFERENCE_ROWS = 500
"""Number of validation rows that serve as the reference."""
SHOWN_CELLS = 3
"""Number of cells listed for each row."""


def anomaly_labels(
    path: Path,
    column: str,
    anomaly: str | None,
    options: TableOptions = AS_FOUND,
    modelled: Sequence[str] = (),
) -> tuple[NDArray[np.bool_], str]:
    """Return which rows of a table are labelled as anomalies, shape (N,), and that label.

    Args:
        path: A table.
        column: Its column of labels.
        anomaly: The label of an anomaly; the rarest one if None.
        options: Options with which the training table was read.
        modelled: Names of the columns of x.

    Raises:
        InputError: If the table has no such column, or the column has no such label.
    """
    check(
        path.is_file() and is_table_file(path),
        f"Expected --label with a table ending in {', '.join(TABLE_ENDINGS)}; got {path}.",
    )
    frame, _, _ = frame_like(path, options, modelled)
    names = list(frame.columns)
    check(
        column in names,
        f"Expected --label to name a column of {path}; got {column!r}, and it has {', '.join(names[:8])}.",
    )
    labels = observed_text(frame[column], options).fillna("")
    counts = labels.value_counts()
    chosen = str(counts.index[-1]) if anomaly is None else anomaly
    check(
        chosen in counts,
        f"Expected --anomaly to be a label of column {column!r}; got {chosen!r}, and it has "
        f"{', '.join(map(str, counts.index[:8]))}.",
    )
    return (labels == chosen).to_numpy(), chosen


@dataclass(frozen=True)
class Anomalies:
    """Rows scored by a run.

    Args:
        scoring: The run, its rows and the settings of their scores.
        scores: log p(x) of each row.
        is_anomaly: Whether each row is labelled as an anomaly, shape (N,), or None.
        top: Number of rows that are analysed cell by cell.
    """

    scoring: Scoring
    scores: LogLikelihood
    is_anomaly: NDArray[np.bool_] | None
    top: int

    @cached_property
    def order(self) -> list[int]:
        """Indices of the rows, the most anomalous first; rows that could not be scored come before all others."""
        return self.scores.value.nan_to_num(nan=-torch.inf).argsort(stable=True).tolist()

    @cached_property
    def names(self) -> list[str]:
        """Names of the entries of x."""
        found, size = self.scoring.row_format.column_names, self.scoring.split.data_dim
        return list(found) if found and len(found) == size else [f"x{number}" for number in range(size)]

    @cached_property
    def _validation(self) -> tuple[Tensor, ...] | None:
        """Validation rows, or None if the run's data can no longer be read."""
        try:
            split = load_data(self.scoring.run.config).validation
        except InputError:
            return None
        return self._on_device(split.evenly_spaced(min(REFERENCE_ROWS, len(split))))

    def _on_device(self, split: Split) -> tuple[Tensor, ...]:
        return tuple(part.to(self.scoring.device) for part in split.tensors())

    @cached_property
    def typicality(self) -> Tensor | None:
        """Distance of log p(x) from that of validation rows, in nats, shape (N,); None if these cannot be read."""
        if self._validation is None:
            return None
        run, settings = self.scoring.run, self.scoring.settings
        reference = log_likelihood(
            run.model, settings.proposal(run), self._validation, settings.num_samples, seed=settings.seed
        )
        return typicality(self.scores.value, reference.value)

    def _cells(self, rows: tuple[Tensor, ...]) -> CellScores:
        run, settings = self.scoring.run, self.scoring.settings
        proposal = settings.proposal(run)
        return cell_log_likelihood(run.model, proposal, rows, settings.num_samples, seed=settings.seed)

    @cached_property
    def cells(self) -> CellScores:
        """Scores of the entries of the most anomalous rows given the others of their row, each of shape (top, D)."""
        return self._cells(self._on_device(self.scoring.split.select(np.array(self.order[: self.top]))))

    @cached_property
    def drops(self) -> Tensor:
        """Drop in log-probability of each of these entries below the average of its column, nats, (top, D).

        The mean of log p(x_j | x_-j) over validation rows (over all scored rows if these cannot be read) minus that of
        the entry. It does not depend on the unit of the column.
        """
        rows = self._validation
        if rows is None:
            rows = self._on_device(self.scoring.split.evenly_spaced(min(REFERENCE_ROWS, len(self.scores))))
        return self._cells(rows).value.nanmean(0) - self.cells.value

    @cached_property
    def detections(self) -> dict[str, Detection]:
        """Detection of the labelled rows by each score."""
        if self.is_anomaly is None:
            return {}
        found = {"-log p(x)": detection(-self.scores.value, self.is_anomaly)}
        if self.typicality is not None:
            found["typicality"] = detection(self.typicality, self.is_anomaly)
        return found

    def write(self) -> None:
        """Write `anomalies.csv` (all rows, the most anomalous first) and `anomalies.json`."""
        with write_atomically(self.scoring.out / "anomalies.csv") as path:
            path.write_text("".join(self._lines()), encoding="utf-8")
        facts = {"facts": self.scoring.facts, "typicality_reference": "validation rows"}
        found = {name: asdict(each) for name, each in self.detections.items()}
        write_json(self.scoring.out / "anomalies.json", facts | {"detection": found})

    def _lines(self) -> Iterator[str]:
        columns = ["rank", "row", "log_likelihood", "se", "khat", "typicality"]
        columns += ["is_anomaly"] * (self.is_anomaly is not None)
        columns += [f"{part}{n + 1}" for n in range(SHOWN_CELLS) for part in ("cell", "drop")]
        yield _line(columns)
        for rank, row in enumerate(self.order):
            far = "" if self.typicality is None else repr(float(self.typicality[row]))
            fields: list[Any] = [rank + 1, row, *(float(part[row]) for part in self.scores.columns()[:2])]
            fields += [float(self.scores.khat[row]), far]
            fields += [] if self.is_anomaly is None else [int(self.is_anomaly[row])]
            named = self._strange_cells(rank) if rank < self.top else []
            yield _line(fields + [part for j, drop in named for part in (self.names[j], drop)])

    def _strange_cells(self, rank: int) -> list[tuple[int, float]]:
        """Return the columns of the most unusual entries of a row, and their drops."""
        drops = self.drops[rank].nan_to_num(nan=-torch.inf)
        chosen = drops.argsort(descending=True)[:SHOWN_CELLS].tolist()
        return [(j, float(drops[j])) for j in chosen if drops[j] > 0]

    def _entry(self, rank: int, column: int, value: float) -> str:
        """Return an entry with its conditional mean, or a level with its conditional probability, given the others."""
        columns = getattr(self.scoring.run.model.likelihood, "columns", None)
        levels = columns[column].levels if columns else ()
        if levels:
            return f"{levels[int(value)]}, probability {math.exp(float(self.cells.value[rank, column])):.2g}"
        return (
            f"{self._number(column, value)}, {self._number(column, float(self.cells.expected[rank, column]))}"
        )

    def _number(self, column: int, value: float) -> str:
        """Return an entry of x as a date or a number of the file."""
        row_format = self.scoring.row_format
        shift = getattr(row_format.preprocessing, "offset", {column: 0.0})[column]
        form = row_format.columns[column].date_format if row_format.columns else ""
        return as_date(value + shift, form) if form else f"{value + shift:.{10 if shift else 4}g}"

    def table(self) -> str:
        """Return the rows with the highest anomaly scores as a table, and notes on it."""
        split, model = self.scoring.split, self.scoring.run.config.model
        header = ["rank", "row", "log p(x)", "± se", "k-hat", "typicality"]
        header += ["label"] * (self.is_anomaly is not None)
        rows = [[*header, "cells (drop in nats; value, what is expected given the others)"]]
        x = split.select(np.array(self.order[: self.top])).tensor()
        for rank, row in enumerate(self.order[: self.top]):
            texts = [
                f"{self.names[j]} ({drop:.1f}; {self._entry(rank, j, float(x[rank, j]))})"
                for j, drop in self._strange_cells(rank)
            ]
            far = "" if self.typicality is None else f"{float(self.typicality[row]):.1f}"
            value, se, _, khat, _ = (float(part[row]) for part in self.scores.columns())
            line = [str(rank + 1), str(row), nats(value, 1), f"{se:.2g}", f"{khat:.2f}", far]
            line += [] if self.is_anomaly is None else ["anomaly" if self.is_anomaly[row] else "normal"]
            rows.append([*line, ", ".join(texts)])
        title = (
            f"{self.scoring.row_format.name}, {split.name} rows ({len(split)}), {split.description}; "
            f"{model.likelihood} likelihood; nats per example, K = {self.scores.num_samples}"
        )
        return "\n".join(["", title, format_table(rows), *self._notes(), f"written to {self.scoring.out}"])

    def _notes(self) -> Iterator[str]:
        if self.detections:
            yield format_table(
                [
                    ["score", "AUROC", "± se", "average precision", "share of anomalies"],
                    *(
                        [
                            name,
                            f"{d.auroc:.3f}",
                            f"{d.auroc_se:.3f}",
                            f"{d.average_precision:.3f}",
                            f"{d.share:.3f}",
                        ]
                        for name, d in self.detections.items()
                    ),
                ]
            )
        if self._validation is None:
            yield "note: the run's data can no longer be read, so there is no typicality."
        if self.scores.warning:
            yield f"warning: {self.scores.warning}"


def _line(fields: list[Any]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(fields)
    return text.getvalue()
