"""Scoring of rows by a trained run: log-likelihoods with errors, written block by block."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyro_vae._checks import check
from pyro_vae.data import Split
from pyro_vae.data.row_format import RowFormat
from pyro_vae.data.units import bits_per_dim
from pyro_vae.evaluate import (
    LogLikelihood,
    annealed_log_likelihood,
    log_likelihood,
)
from pyro_vae.evaluate.gaps import inference_gaps
from pyro_vae.evenly_spaced import evenly_spaced_rows
from pyro_vae.experiment.class_accuracy import accuracy, accuracy_line
from pyro_vae.experiment.load_run import Run
from pyro_vae.experiment.provenance import split_facts
from pyro_vae.experiment.scoring.checks import Checks
from pyro_vae.experiment.scoring.scores_csv import ScoreFile
from pyro_vae.experiment.scoring.scores_table import known_scores, scores_table
from pyro_vae.experiment.scoring.settings import ScoreSettings
from pyro_vae.processes import SINGLE_PROCESS, Processes
from pyro_vae.progress import progress_bar
from pyro_vae.statistics import mean_and_se
from pyro_vae.storage import write_json

__all__ = ["Scoring"]

BLOCK = 50
"""Rows that are scored and written at once; an interruption loses at most these."""


@dataclass(frozen=True)
class Scoring:
    """A run, the rows to score, and the output folder.

    Args:
        run: The trained programs and their configuration.
        row_format: Format of the training rows of the run.
        split: The rows to score.
        settings: Settings of the scores.
        out: Folder for `scores.csv` and `evaluation.json`.
        weights_sha256: Hash of the weights of the run.
        notes: Notes on the rows.
        processes: Processes that share the rows; the first one writes.
    """

    run: Run
    row_format: RowFormat
    split: Split
    settings: ScoreSettings
    out: Path
    weights_sha256: str
    notes: tuple[str, ...] = ()
    processes: Processes = SINGLE_PROCESS

    @property
    def facts(self) -> dict[str, Any]:
        """Provenance of every number; an interrupted scoring can only resume if it is the same."""
        rows = {"weights_sha256": self.weights_sha256, "rows_sha256": _sha256(self.split)}
        likelihood = {"likelihood": self.run.config.model.likelihood}
        facts = split_facts(self.row_format.name, self.split)
        return facts | rows | likelihood | {"settings": asdict(self.settings)}

    @property
    def device(self) -> torch.device:
        """Device of the programs."""
        return next(self.run.model.parameters()).device

    def score(self, max_memory: float | None = None) -> LogLikelihood:
        """Score all rows, block by block, continuing from an interrupted call with the same settings.

        Args:
            max_memory: Bytes that the programs' tensors may take at once; the default of `log_likelihood` if None.
        """
        file = ScoreFile(self.out / "scores.csv", self.split.data_dim, self.split.preprocessing)
        table = torch.empty(5, len(self.split), dtype=torch.float64)
        first = self.processes.rank == 0
        kept = self._together(self._done(file) if first else table[:, :0])
        done, proposal = kept.shape[1], self.settings.proposal(self.run)
        table[:, :done] = kept
        with progress_bar(len(self.split), "rows", "importance sampling", initial=done, shown=first) as bar:
            for start in range(done, len(self.split), BLOCK * self.processes.count):
                # Processes take blocks in turn; the noise of a row depends on its block alone.
                own = self._score_block(start + BLOCK * self.processes.rank, proposal, max_memory)
                part = self._together(own)
                table[:, start : start + part.shape[1]] = part
                if first:
                    file.append(start, part)
                bar.update(part.shape[1])
        return LogLikelihood.from_columns(table, self.settings.num_samples)

    def _score_block(self, start: int, proposal: Any, max_memory: float | None) -> Tensor:
        """Return the scores of the rows from `start` on, shape (5, at most BLOCK)."""
        if start >= len(self.split):
            return torch.empty(5, 0, dtype=torch.float64)
        rows, settings = self.rows(slice(start, start + BLOCK)), self.settings
        seed = 2**32 * settings.seed + start  # not `derive_seed`: continues scorings of 0.1.0 bit by bit
        scores = log_likelihood(
            self.run.model, proposal, rows, settings.num_samples, max_memory=max_memory, seed=seed
        )
        return torch.stack(scores.columns())

    def _together(self, columns: Tensor) -> Tensor:
        return self.processes.gather(columns.T).T

    def rows(self, chosen: slice | NDArray[np.int64]) -> tuple[Tensor, ...]:
        """Return the chosen rows `(x, *context)` on the device of the programs."""
        return tuple(part.to(self.device) for part in self.split.select(chosen).tensors())

    def _done(self, file: ScoreFile) -> Tensor:
        """Return the scores of complete blocks on disk, shape (5, rows), and start the files."""
        summary = self.out / "evaluation.json"
        found = file.read() if _facts_in(summary) == self.facts else None
        write_json(summary, {"facts": self.facts})
        file.start()
        if found is None or found.shape[1] > len(self.split):
            return torch.empty(5, 0, dtype=torch.float64)
        count = found.shape[1]
        kept = found[:, : count if count == len(self.split) else count // BLOCK * BLOCK]
        file.append(0, kept)
        return kept

    def check_continuous(self) -> None:
        """Raise before scoring if annealing and gaps, which need gradients in z, are not possible.

        Raises:
            InputError: If the run has discrete latents.
        """
        model = self.run.config.model
        check(
            model.latent == "gaussian" and not model.part("context").is_partial,
            "Expected continuous latents for --ais and --gaps, which need gradients; this run has discrete ones. "
            "Leave these flags out.",
        )

    def checks(self, num_rows: int, *, ais: bool, gaps: bool) -> Checks:
        """Return the more expensive checks on evenly spaced rows of the split.

        Args:
            num_rows: Number of rows; all if there are fewer.
            ais: Whether to anneal.
            gaps: Whether to split the gap between ELBO and log p(x).
        """
        chosen = evenly_spaced_rows(len(self.split), num_rows)
        programs, seed = (self.run.model, self.run.guide), self.settings.seed
        x = self.rows(chosen)
        return Checks(
            torch.from_numpy(chosen),
            annealed_log_likelihood(*programs, x, seed=seed, progress=True) if ais else None,
            inference_gaps(*programs, x, seed=seed, progress=True) if gaps else None,
        )

    def write(self, scores: LogLikelihood, checks: Checks) -> None:
        """Write `evaluation.json`.

        Args:
            scores: Scores of all rows.
            checks: Checks on fewer rows.
        """
        known = known_scores(scores)
        in_bits = bits_per_dim(known.mean, self.split.data_dim, self.split.preprocessing)
        bits = {} if in_bits is None else {"bits_per_dim": in_bits}
        lost = (~scores.value.isfinite()).nonzero().flatten().tolist()
        unscored = {"num_unscored": len(lost), "unscored_rows": lost, "warning": scores.warning}
        known_classes = {} if self.accuracy is None else {"accuracy": self.accuracy}
        results = known_classes | {
            "log_likelihood": known.summary() | unscored,
            "elbo": dict(zip(("mean", "se"), mean_and_se(known.elbo), strict=True)),
        }
        write_json(
            self.out / "evaluation.json", {"facts": self.facts} | results | bits | checks.summary(scores)
        )

    @cached_property
    def accuracy(self) -> dict[str, float] | None:
        """Return the share of rows with the right class; None without a classifier or labels."""
        if self.split.labels is None or not hasattr(self.run.guide, "classify"):
            return None
        return accuracy(self.run.guide, self.split)

    def table(self, scores: LogLikelihood, checks: Checks) -> str:
        """Return the table of the scores, and the notes on it.

        Args:
            scores: Scores of all rows.
            checks: Checks on fewer rows.
        """
        model = self.run.config.model
        title = (
            f"{self.row_format.name}, {self.split.name} rows, {self.split.description}; "
            f"{model.likelihood} likelihood, latent {model.latent_size}; nats per example"
        )
        notes = [f"note: {note}" for note in self.notes]
        lines = scores_table(scores, checks, self.split)
        if self.accuracy is not None:
            lines.append(accuracy_line({self.split.name: self.accuracy}))
        return "\n".join(["", title, *lines, *notes, f"written to {self.out}"])


def _sha256(split: Split) -> str:
    digest = hashlib.sha256()
    for block in split.blocks():
        for part in block:
            digest.update(part.numpy().tobytes())
    return digest.hexdigest()


def _facts_in(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))["facts"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
