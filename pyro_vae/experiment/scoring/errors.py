"""Scores of rows by an autoencoder: the error of each reconstruction instead of a log-likelihood."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyro_vae.evaluate.reconstruction import RowErrors, reconstruction_errors
from pyro_vae.experiment.autoencoder import trained_error, unit_of_error
from pyro_vae.experiment.text_table import format_table
from pyro_vae.storage import StorageError, write_json

if TYPE_CHECKING:
    from pyro_vae.experiment.scoring.scoring import Scoring

__all__ = ["score_errors"]

SHOWN = 5
"""Number of rows with the largest errors that are listed."""


def score_errors(scoring: Scoring) -> str:
    """Measure the error of every row, write `scores.csv` and `evaluation.json`, and return the table.

    Args:
        scoring: Scoring of a run whose guide is a point estimate.

    Raises:
        StorageError: If a file cannot be written.
    """
    config = scoring.run.config
    rows = tuple(part.to(scoring.device) for part in scoring.split.tensors())
    errors = reconstruction_errors(scoring.run.model, scoring.run.guide, rows, trained_error(config))
    unit = unit_of_error(config, scoring.row_format)
    _write(scoring, errors, unit)
    table = [
        ["measure", "rows", "mean", "± se"],
        [
            f"{errors.error}{'' if errors.error == 'cross-entropy' else ' error'}",
            str(len(errors.value)),
            f"{errors.mean:.5g}",
            f"{errors.se:.2g}",
        ],
    ]
    largest = errors.value.argsort(descending=True)[:SHOWN].tolist()
    return "\n".join(
        [
            "",
            f"{scoring.row_format.name}, {scoring.split.name} rows, {scoring.split.description}; autoencoder without a "
            f"likelihood, latent {config.model.latent_dim}; {unit}",
            format_table(table),
            "rows with the largest errors: "
            + ", ".join(f"{row} ({float(errors.value[row]):.4g})" for row in largest),
            *(f"note: {note}" for note in scoring.notes),
            f"written to {scoring.out}",
        ]
    )


def _write(scoring: Scoring, errors: RowErrors, unit: str) -> None:
    facts = scoring.facts | {"unit": unit}
    write_json(scoring.out / "evaluation.json", {"facts": facts, "reconstruction_error": errors.summary()})
    lines = [
        f"{row},{value!r},{norm!r}"
        for row, (value, norm) in enumerate(
            zip(errors.value.tolist(), errors.squared_norm.tolist(), strict=True)
        )
    ]
    path = scoring.out / "scores.csv"
    try:
        path.write_text("\n".join(["row,reconstruction_error,squared_norm", *lines, ""]), encoding="utf-8")
    except OSError as error:
        raise StorageError(f"Could not write {path}: {error.strerror}. Free some space.") from error
