"""Imputation of the missing cells of a table by a trained run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pyro_vae._checks import InputError, check
from pyro_vae.data.columns import Column
from pyro_vae.data.named_frames import frame_like
from pyro_vae.data.new_rows import rows_like
from pyro_vae.data.preprocessing import Centre, Preprocessing
from pyro_vae.data.row_format import RowFormat
from pyro_vae.data.table_files import BINARY_ENDINGS
from pyro_vae.evaluate.imputation import Imputation, impute
from pyro_vae.experiment.complete_table import CompletedTable
from pyro_vae.experiment.load_run import load_run
from pyro_vae.likelihoods.registry import LIKELIHOODS
from pyro_vae.training import resolve_device

__all__ = ["impute_table"]


def impute_table(
    run_folder: Path,
    data: Path,
    out: Path,
    *,
    num_draws: int = 0,
    num_samples: int = 10_000,
    seed: int = 0,
    device: str = "auto",
) -> str:
    """Impute the missing cells of a table by a trained run, write the table, and return a summary in words.

    Args:
        run_folder: Folder of a finished run with the likelihood `table`.
        data: Table.
        out: The completed table.
        num_draws: Number of additional tables of draws.
        num_samples: Samples of z for each row.
        seed: Seed of the noise.
        device: "auto", "cpu" or "cuda".

    Raises:
        InputError: If the run or the table cannot be read, or they do not match.
    """
    run = load_run(run_folder, resolve_device(device))
    row_format = run.row_format
    if row_format is None:
        raise InputError(
            f"Expected a run later than version 0.1.0, which describes its rows; {run_folder} is of version 0.1.0. "
            "Train it again."
        )
    _check_ending(data, out)
    columns = row_format.columns or _real_columns(row_format)
    split, notes = rows_like(data, row_format, LIKELIHOODS[run.config.model.likelihood].kind)
    rows = tuple(part.to(next(run.model.parameters()).device) for part in split.tensors())
    found = impute(
        run.model,
        run.guide,
        rows,
        num_samples,
        num_draws=num_draws,
        columns=columns,
        seed=seed,
        progress=True,
    )
    found = _in_units_of_the_file(found, row_format.preprocessing)
    names, levels = [column.name for column in columns], [column.levels for column in columns]
    missing, marks = rows[0].isnan().cpu(), getattr(run.config.data, "missing", ())
    table = CompletedTable(data, names, levels, missing, found, marks, *_layout(data, row_format, names))
    lines = _counts(missing, names)
    if missing.any():
        lines.append(f"fewest effective samples of a row: {float(found.ess.min()):.0f} of {num_samples}")
    written = (f"written: {path}" for path in table.write(out))
    return "\n".join([*lines, *(f"note: {note}" for note in notes), *written])


def _check_ending(data: Path, out: Path) -> None:
    """Raise `InputError` if `out` is not of the binary format of the table."""
    if data.suffix.lower() in BINARY_ENDINGS:
        check(
            out.suffix.lower() == data.suffix.lower(),
            f"Expected -o to end in {data.suffix}, as the completed table has the format of {data}; got {out}.",
        )


def _real_columns(row_format: RowFormat) -> tuple[Column, ...]:
    """Return the columns of a run whose likelihood only takes numbers."""
    names = row_format.column_names or [f"column {number}" for number in range(row_format.data_dim)]
    return tuple(Column(name, "real") for name in names)


def _in_units_of_the_file(found: Imputation, preprocessing: Preprocessing) -> Imputation:
    """Return imputations of x as entries of the file; standard deviations are in its units already."""
    if not isinstance(preprocessing, Centre):
        return found
    offset = torch.tensor(preprocessing.offset, dtype=torch.float64, device=found.value.device)
    return replace(found, value=found.value + offset, draws=found.draws + offset)


def _layout(data: Path, row_format: RowFormat, names: Sequence[str]) -> tuple[Any, ...]:
    """Return the options of a table and the names of its columns; nothing if the run had a table without options."""
    if row_format.table_options is None:
        return ()
    frame, options, _ = frame_like(data, row_format.table_options, names)
    return options, list(frame.columns)


def _counts(missing: Tensor, names: Sequence[str]) -> list[str]:
    """Return the number of missing cells, in all and for each column that has some, in words."""
    per_column = zip(names, missing.sum(0).tolist(), strict=True)
    return [
        f"{int(missing.sum())} of {missing.numel()} cells imputed, in {int(missing.any(1).sum())} rows",
        *(f"{name}: {number} cells" for name, number in per_column if number),
    ]
