"""Score rows with a trained run: log p(x) of each, with its error and diagnostics.

pyro-vae evaluate runs/digits-gaussian-001
pyro-vae evaluate runs/digits-gaussian-001 --data new_rows.npy --num-samples 1000 --ais --gaps
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated

import tyro

from pyro_vae._checks import check, check_integer, check_positive
from pyro_vae._command_line import parse
from pyro_vae.progress import quiet
from pyro_vae.settings.scoring import ScoringOptions


@dataclass(frozen=True, kw_only=True)
class Arguments(ScoringOptions):
    """Estimate log p(x) of each row by importance sampling; write evaluation.json and scores.csv.

    Rows of an autoencoder, which has no likelihood, are scored by the error of their reconstructions.
    """

    run: Annotated[Path, tyro.conf.Positional]
    """Folder of a finished run."""
    data: Path | None = None
    """Rows to score instead of the run's test split: a file or folder as for --dataset."""
    ais: bool = False
    """Also estimate log p(x) by annealed importance sampling, with a check on rows drawn from the model."""
    gaps: bool = False
    """Also decompose the gap between ELBO and log p(x) into the parts due to the guide's family and its encoder."""
    check_rows: int = 200
    """Number of evenly spaced rows for --ais and --gaps, which cost more."""
    max_memory: float | None = None
    """Maximum memory of the programs' tensors, MiB; 16 if not given, 1024 on a GPU, more if samples share much
    memory."""
    out: Path | None = None
    """Folder for evaluation.json and scores.csv; that of the run if not given."""


def main() -> int:
    """Parse, score, print the table."""
    arguments: Arguments = parse(Arguments)
    with quiet(arguments.quiet):
        return score(arguments)


def score(arguments: Arguments) -> int:
    """Score, print the table, return the exit status."""
    check_integer(arguments.check_rows, "--check-rows")
    if arguments.max_memory is not None:
        check_positive(arguments.max_memory, "--max-memory")

    from pyro_vae.experiment.scoring import ScoreSettings, open_scoring, score_errors
    from pyro_vae.processes import started_processes

    processes = started_processes()
    settings = ScoreSettings.of(arguments)
    scoring = open_scoring(
        arguments.run, arguments.data, settings, arguments.out, arguments.device, processes
    )
    if scoring.run.config.model.part("guide").is_point:
        _check_no_likelihood(arguments)
        text = score_errors(scoring) if processes.rank == 0 else ""
        print(text, end="\n" * bool(text))
        return 0
    if arguments.ais or arguments.gaps:
        scoring.check_continuous()
    try:
        scores = scoring.score(None if arguments.max_memory is None else 2**20 * arguments.max_memory)
    except KeyboardInterrupt:
        print(
            f"\nInterrupted; finished rows are in {scoring.out / 'scores.csv'}. The same command continues."
        )
        return 130
    if processes.rank > 0:
        return 0
    checks = scoring.checks(arguments.check_rows, ais=arguments.ais, gaps=arguments.gaps)
    scoring.write(scores, checks)
    print(scoring.table(scores, checks))
    return 0


def _check_no_likelihood(arguments: Arguments) -> None:
    """Raise `InputError` if an option is given that an autoencoder does not support."""
    defaults = {field.name: field.default for field in fields(Arguments)}
    for name in ("num_samples", "ais", "gaps", "widen", "defensive"):
        check(
            getattr(arguments, name) == defaults[name],
            f"Expected no --{name.replace('_', '-')} for {arguments.run}, an autoencoder: it has no likelihood, and "
            "its rows are scored by the error of their reconstructions. Leave it out.",
        )
