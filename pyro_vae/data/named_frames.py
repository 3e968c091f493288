"""Frames with names: those of the header line, of the options, or of the table that a run was trained on."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyro_vae._checks import check
from pyro_vae.data.stored import listed
from pyro_vae.data.table_files import FOUND_ENCODINGS, is_text_table, read_frame
from pyro_vae.data.table_options import SEPARATORS, TableOptions

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["frame_like", "name_of", "named_frame"]

NamedFrame = tuple["pd.DataFrame", TableOptions, tuple[str, ...]]
"""A frame with different, non-empty names of text; the options that were determined; and notes on them."""


def named_frame(table: Path | pd.DataFrame, options: TableOptions) -> NamedFrame:
    """Return a table with the names of its header line, or those of the options, or c0, c1, ....

    Raises:
        InputError: If the file cannot be read, names are given for a table that has some, their number is another, or
            two columns have one name.
    """
    if not isinstance(table, Path):
        options.check_no_text_options(name_of(table))
        return _checked(table, table), options, ()
    if not is_text_table(table):
        options.check_no_text_options(name_of(table))
    frame, found, notes = read_frame(table, options)
    if found.header == "no":
        names = options.names or _numbered(frame)
        check(
            len(names) == frame.shape[1],
            f"Expected a name for each of the {frame.shape[1]} columns of {table}; got {len(names)} by --names.",
        )
        frame = frame.set_axis(list(names), axis=1)
    return _checked(frame, table), found, notes


def frame_like(table: Path | pd.DataFrame, options: TableOptions, modelled: Sequence[str]) -> NamedFrame:
    """Return new rows of a known table, with its names.

    A file without a header line has the columns of the training file, or the modelled ones alone, in their order. Its
    first line is a header line if it holds the names of all modelled columns. Separator and encoding are determined
    again, unless those of the training file are some that are not determined.

    Args:
        table: A file, or a DataFrame.
        options: Options of the training file.
        modelled: Names of the columns that are modelled.

    Raises:
        InputError: If the file cannot be read, or has another number of columns and no names.
    """
    if not isinstance(table, Path):
        return _checked(table, table), options, ()
    known_separator = options.separator in SEPARATORS or options.mark in SEPARATORS.values()
    plain = replace(
        options,
        names=(),
        separator="auto" if known_separator else options.separator,
        encoding="auto" if options.encoding in FOUND_ENCODINGS else options.encoding,
    )
    frame, found, notes = read_frame(table, plain)
    if found.header == "no":
        frame = _named_like(frame, table, options, modelled)
    return _checked(frame, table), found, notes


def _named_like(
    frame: pd.DataFrame, path: Path, options: TableOptions, modelled: Sequence[str]
) -> pd.DataFrame:
    first = [str(field).strip() for field in frame.iloc[0]]
    first[0] = first[0].lstrip("# ")
    if set(modelled) <= set(first):
        return frame.iloc[1:].reset_index(drop=True).set_axis(first, axis=1)
    if not options.names:
        return frame.set_axis(_numbered(frame), axis=1)
    fitting = [names for names in (options.names, modelled) if len(names) == frame.shape[1]]
    check(
        bool(fitting),
        f"Expected {len(options.names)} columns in {path}, as the training file has, or the {len(modelled)} that are "
        f"modelled ({listed(map(repr, modelled))}); got {frame.shape[1]}. Or give it a header line with the names.",
    )
    return frame.set_axis(list(fitting[0]), axis=1)


def name_of(table: Any) -> str:
    """Return the name of a table in messages."""
    return str(table) if isinstance(table, str | os.PathLike) else "the DataFrame"


def _numbered(frame: pd.DataFrame) -> list[str]:
    return [f"c{j}" for j in range(frame.shape[1])]


def _checked(frame: pd.DataFrame, table: Any) -> pd.DataFrame:
    names = [str(column).strip() for column in frame.columns]
    names = [name or f"Unnamed: {j}" for j, name in enumerate(names)]
    for j, name in enumerate(names):
        check(
            name not in names[:j],
            f"Expected different column names in {name_of(table)}; got {name!r} twice. Rename one of them.",
        )
    check(len(frame) > 0, f"Expected rows in {name_of(table)}; got none.")
    return frame.set_axis(names, axis=1)
