"""Tables of mixed columns with missing values: conversion of a file or a DataFrame to stored rows, and of new rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pyro_vae._checks import InputError, check
from pyro_vae.data.column_kinds import Found, encoded, infer_column
from pyro_vae.data.column_values import as_numbers, observed_text, unused_marks
from pyro_vae.data.columns import Column
from pyro_vae.data.fixed_draws import draw_rows
from pyro_vae.data.labels import encode_labels
from pyro_vae.data.named_frames import frame_like, name_of, named_frame
from pyro_vae.data.stored import Stored, listed
from pyro_vae.data.table_options import AS_FOUND, TableOptions
from pyro_vae.data.training_levels import in_training_levels

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["read_table", "read_table_like"]

LABEL_NAMES = ("label", "class", "target")
SHOWN_LEVELS = 6


def read_table(
    table: Path | pd.DataFrame, options: TableOptions = AS_FOUND, *, numbers_are_real: bool = False
) -> Stored:
    """Read a table of mixed columns: determine their kinds and store float64 rows, NaN where not observed.

    Levels are those of the training rows that `load_dataset` draws; see `in_training_levels`.

    Args:
        table: A file, or a DataFrame.
        options: Options for reading, and roles of columns.
        numbers_are_real: Whether numbers other than ids are of kind real unless another kind is given.

    Raises:
        InputError: If it cannot be read, an option does not fit it, or fewer than two columns are left.
    """
    frame, options, notes = named_frame(table, options)
    name = name_of(table)
    options.check_names(list(frame.columns), name)
    label, labels, class_names = _labels(frame, options, name)
    out = dict.fromkeys(options.drop, "by --drop")
    out |= {options.id_column: "id, by --id-column"} if options.id_column else {}
    out |= {label: f"classes ({len(np.unique(labels))})"} if label is not None and labels is not None else {}
    found = _inferred(frame, options, out, numbers_are_real)
    train = draw_rows(name, {"train": np.arange(len(frame))}, {})["train"]
    limited = {column: in_training_levels(one, train) for column, one in found.items()}
    found = {column: one for column, (one, _) in limited.items()}
    notes += tuple(note for _, note in limited.values() if note)
    if unused := unused_marks(frame, options.missing):
        notes += (f"No entry of {name} is {' or '.join(map(repr, unused))}, named by --missing.",)
    columns = tuple(one.column for one in found.values() if one.column is not None)
    reasons = listed(f"{name!r} ({one.why})" for name, one in found.items() if one.column is None)
    check(
        len(columns) > 1,
        f"Expected at least two columns to model in {name}; got {len(columns)}"
        f"{f': left out were {reasons}' if reasons else ''}. Give kinds by --columns, or another separator.",
    )
    array = np.stack([one.values for one in found.values() if one.column is not None], axis=1)
    return Stored(
        name,
        array,
        labels,
        class_names=class_names,
        column_names=tuple(column.name for column in columns),
        notes=notes,
        columns=columns,
        table_options=options,
        kinds=tuple(_kinds_table(found)),
    )


def _inferred(
    frame: pd.DataFrame, options: TableOptions, out: Mapping[str, str], numbers_are_real: bool
) -> dict[str, Found]:
    """Return kind and values of each column by name; `out` gives the reasons for columns that are left out."""
    given = options.kind_of_columns()
    return {
        column: Found(None, np.empty(0), out[column])
        if column in out
        else infer_column(
            column,
            observed_text(frame[column], options),
            options.decimal,
            given.get(column),
            numbers_are_real=numbers_are_real,
        )
        for column in frame.columns
    }


def read_table_like(table: Path | pd.DataFrame, columns: tuple[Column, ...], options: TableOptions) -> Stored:
    """Read new rows of a known table; columns are matched by name in any order, further ones are left out.

    Args:
        table: A file, or a DataFrame.
        columns: Columns of the training rows.
        options: Options of the training file; `frame_like` determines some of them again.

    Raises:
        InputError: If a column is missing, or holds values that are not of its kind.
    """
    names = [column.name for column in columns]
    frame, _, _ = frame_like(table, options, names)
    name = name_of(table)
    missing = [column for column in names if column not in frame.columns]
    extra = [column for column in frame.columns if column not in names]
    check(
        not missing,
        f"Expected the columns that the run was trained on in {name}; it lacks {listed(map(repr, missing))}"
        f"{f' and has {listed(map(repr, extra))} besides' if extra else ''}. Give the same names, in any order.",
    )
    entries, notes = [], []
    for column in columns:
        values, unseen = encoded(column, observed_text(frame[column.name], options), options.decimal)
        entries.append(values)
        if unseen:
            notes.append(
                f"Column {column.name!r} holds levels that the training rows do not have: "
                f"{listed(map(repr, unseen))}. Such entries are taken as not observed."
            )
    label = _label_name(frame, options, name)
    known = options if label is not None and frame[label].notna().all() else replace(options, label_column="")
    _, labels, class_names = _labels(frame, known, name) if label in frame.columns else (None, None, None)
    return Stored(
        name,
        np.stack(entries, axis=1),
        labels,
        class_names=class_names,
        column_names=tuple(names),
        notes=tuple(notes),
        columns=columns,
        table_options=options,
    )


def _label_name(frame: pd.DataFrame, options: TableOptions, name: str) -> str | None:
    if options.label_column:
        return options.label_column if options.label_column in frame.columns else None
    given = options.kind_of_columns()
    found = [
        column
        for column in frame.columns
        if column.lower() in LABEL_NAMES and column not in {*given, *options.drop, options.id_column}
    ]
    check(
        len(found) <= 1,
        f"Expected at most one label column in {name}; got {', '.join(found)}. Name it by --label-column.",
    )
    return found[0] if found else None


def _labels(
    frame: pd.DataFrame, options: TableOptions, name: str
) -> tuple[str | None, NDArray[np.int64] | None, tuple[str, ...] | None]:
    label = _label_name(frame, options, name)
    if label is None:
        return None, None, None
    text = observed_text(frame[label], options)
    empty = int(text.isna().sum())
    check(empty == 0, f"Expected a label in every row of {name}; column {label!r} is empty in {empty}.")
    numbers = as_numbers(text, options.decimal)
    try:
        labels, names = encode_labels(
            text.to_numpy(str) if numbers is None else numbers, f"column {label!r} of {name}"
        )
    except InputError as error:
        raise InputError(f"{error} Or give it a kind: --columns {label}:real.") from None
    return label, labels, names


def _kinds_table(found: dict[str, Found]) -> Iterator[str]:
    """Yield a line for each column: name, kind, levels or range, missing entries."""
    width = min(max(len("column"), *(len(name) for name in found)), 32)
    yield f"{'column':<{width}}  {'kind':<11}  {'missing':>7}  levels or range"
    for name, one in found.items():
        shown = name if len(name) <= width else f"{name[: width - 3]}..."
        if one.column is None:
            yield f"{shown:<{width}}  {'left out':<11}  {'':>7}  {one.why}"
            continue
        missing = np.isnan(one.values).mean()
        share = f"{100 * missing:.1f} %" if missing else ""
        yield f"{shown:<{width}}  {one.column.kind:<11}  {share:>7}  {_extent(one)}"


def _extent(one: Found) -> str:
    if one.column is not None and one.column.levels:
        levels = one.column.levels
        return f"{len(levels)}: {listed(levels, most=SHOWN_LEVELS)}"
    low, high = np.nanmin(one.values), np.nanmax(one.values)
    digits = 6 if f"{low:.6g}" != f"{high:.6g}" else 12
    return f"{low:.{digits}g} to {high:.{digits}g}{f' ({one.why})' if one.why else ''}"
