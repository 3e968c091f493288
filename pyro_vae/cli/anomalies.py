"""Rank rows by how unusual they are under a trained run, and name their unusual cells.

pyro-vae anomalies runs/wine new_wines.csv
pyro-vae anomalies runs/mammography mammography.csv --label label --anomaly 1
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from pyro_vae._checks import check, check_integer
from pyro_vae._command_line import parse
from pyro_vae.progress import quiet
from pyro_vae.settings.scoring import ScoringOptions


@dataclass(frozen=True, kw_only=True)
class Arguments(ScoringOptions):
    """Rank rows by log p(x) with its error, list their unusual cells, and measure detection if there are labels."""

    run: Annotated[Path, tyro.conf.Positional]
    """Folder of a finished run."""
    data: Annotated[Path, tyro.conf.Positional]
    """Rows to rank: a file or folder as for --dataset."""
    label: str | None = None
    """Column of the file with labels, for AUROC and average precision of each score."""
    anomaly: str | None = None
    """Label of the anomalies; the rarest one if not given."""
    top: int = 10
    """Number of rows that are shown, with their unusual cells."""
    num_samples: int = 1000
    """Samples of z for each row."""
    out: Path | None = None
    """Folder for anomalies.csv and anomalies.json; a folder within that of the run if not given."""


def main() -> int:
    """Parse, rank, print the table."""
    arguments: Arguments = parse(Arguments)
    with quiet(arguments.quiet):
        return rank(arguments)


def rank(arguments: Arguments) -> int:
    """Rank, write the files, print the table, return the exit status."""
    check_integer(arguments.top, "--top")
    check_integer(arguments.num_samples, "--num-samples", minimum=2)
    check(
        arguments.anomaly is None or arguments.label is not None,
        "Expected --label with --anomaly; got none.",
    )

    from pyro_vae.experiment.anomalies import Anomalies
    from pyro_vae.experiment.scoring import ScoreSettings, open_scoring

    settings = ScoreSettings.of(arguments)
    scoring = open_scoring(arguments.run, arguments.data, settings, arguments.out, arguments.device)
    check(
        not scoring.run.config.model.part("guide").is_point,
        f"Expected a run with a likelihood; {arguments.run} is an autoencoder. Rank its rows by the error of their "
        "reconstructions: `pyro-vae evaluate`.",
    )
    labels, named = (
        _labels(arguments, arguments.label, scoring) if arguments.label is not None else (None, "")
    )
    anomalies = Anomalies(scoring, scoring.score(), labels, min(arguments.top, len(scoring.split)))
    anomalies.write()
    print(anomalies.table())
    if labels is not None:
        print(f"anomalies are rows with {arguments.label} = {named}")
    return 0


def _labels(arguments: Arguments, column: str, scoring: Any) -> Any:
    """Return whether each row is an anomaly, by a column of labels, and the value of anomalies in words."""
    from pyro_vae.data.table_options import AS_FOUND
    from pyro_vae.experiment.anomalies import anomaly_labels

    form = scoring.row_format
    known = (form.table_options or AS_FOUND, form.column_names or ())
    labels, named = anomaly_labels(arguments.data, column, arguments.anomaly, *known)
    check(
        len(labels) == len(scoring.split),
        f"Expected a label for each of {len(scoring.split)} rows; got {len(labels)}.",
    )
    return labels, named
