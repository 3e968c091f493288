"""`Column`: name, kind and levels of a column of a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pyro_vae._checks import check, check_choice

__all__ = [
    "COLUMN_KINDS",
    "COUNTS",
    "UNBOUNDED",
    "WITH_DENSITY",
    "WITH_LEVELS",
    "Column",
    "columns_from_json",
    "columns_to_json",
]

COLUMN_KINDS = ("real", "student-t", "positive", "count", "poisson", "binary", "ordinal", "categorical")
"""Kinds of columns that are modelled."""
UNBOUNDED = ("real", "student-t")
"""Kinds whose entries are any real numbers."""
WITH_DENSITY = (*UNBOUNDED, "positive")
"""Kinds whose entries have a density; entries of all other kinds have probabilities."""
COUNTS = ("count", "poisson")
"""Kinds whose entries are whole numbers of at least 0."""
WITH_LEVELS = ("binary", "ordinal", "categorical")
"""Kinds whose entries are numbers of levels 0, ..., K - 1."""


@dataclass(frozen=True)
class Column:
    """One column of a table.

    A stored entry is the value as read (real, student-t, positive, count, poisson) or the number of its level
    (binary, ordinal, categorical); NaN where it is not observed.

    Attributes:
        name: Name in the header.
        kind: One of `COLUMN_KINDS`.
        levels: Values as in the file, in order; empty for kinds without levels.
        date_format: Format of the dates in the training rows, in the notation of `strftime`; empty for other columns.

    Raises:
        InputError: If kind and levels do not match.
    """

    name: str
    kind: str
    levels: tuple[str, ...] = ()
    date_format: str = ""

    def __post_init__(self) -> None:
        check_choice(self.kind, COLUMN_KINDS, f"kind of column {self.name!r}")
        fits = len(self.levels) >= 2 if self.kind in WITH_LEVELS else not self.levels
        check(
            fits and (self.kind != "binary" or len(self.levels) == 2),
            f"Expected two levels of a binary column, two or more of an ordinal or categorical one and none of others; "
            f"got {len(self.levels)} for column {self.name!r} of kind {self.kind}.",
        )


def columns_to_json(columns: Sequence[Column] | None) -> list[dict[str, Any]] | None:
    """Return columns as plain values."""
    if columns is None:
        return None
    return [
        {"name": c.name, "kind": c.kind, "levels": list(c.levels), "date_format": c.date_format}
        for c in columns
    ]


def columns_from_json(values: Sequence[Mapping[str, Any]] | None) -> tuple[Column, ...] | None:
    """Return columns from the output of `columns_to_json`."""
    if values is None:
        return None
    return tuple(
        Column(str(v["name"]), str(v["kind"]), tuple(map(str, v["levels"])), str(v.get("date_format", "")))
        for v in values
    )
