"""Tables of numbers in any format, for likelihoods that have the same density for all columns."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pyro_vae._checks import check
from pyro_vae.data.mixed_tables import read_table
from pyro_vae.data.stored import Stored, listed
from pyro_vae.data.table_options import TableOptions
from pyro_vae.data.units import LikelihoodKind

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["read_plain_table"]


def read_plain_table(table: Path | pd.DataFrame, options: TableOptions, kind: LikelihoodKind) -> Stored:
    """Read a table of real columns without missing values; ids and constant columns are left out.

    Args:
        table: A file, or a DataFrame.
        options: Options for reading, and roles of columns.
        kind: Kind of p(x | z); under a likelihood of integers whole numbers are stored as such.

    Raises:
        InputError: If it cannot be read, or has columns or entries that such a likelihood does not take.
    """
    others = [name for name, given in options.kind_of_columns().items() if given != "real"]
    check(
        not others,
        f"Expected no kinds by --columns but real under this likelihood, which has one density for all columns; got "
        f"others for {listed(map(repr, others))}. Choose --likelihood table, or leave them out.",
    )
    stored = read_table(table, options, numbers_are_real=True)
    levels = [column.name for column in stored.columns or () if column.levels]
    check(
        not levels,
        f"Expected columns of numbers in {stored.name} under this likelihood; got levels in "
        f"{listed(map(repr, levels))}. Choose --likelihood table, or leave them out by --drop.",
    )
    holes = int(np.isnan(stored.array).sum())
    check(
        holes == 0,
        f"Expected no missing values in {stored.name} under this likelihood; got {holes}. Choose --likelihood table.",
    )
    if kind == "integer" and (stored.array == np.floor(stored.array)).all():
        return replace(stored, array=stored.array.astype(np.int64))
    return stored
