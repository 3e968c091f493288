"""Tables of numbers for the benchmarks of imputation and detection."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks._names import ByName
from pyro_vae._checks import check
from pyro_vae.data.columns import Column
from pyro_vae.data.mixed_tables import read_table

Array = NDArray[np.float64]


def _root() -> Path:
    return Path(os.environ.get("PYRO_VAE_DATA", "data")) / "tables"


def _file(name: str) -> Path:
    path = _root() / name
    check(
        path.is_file(), f"Expected {path}; there is none. Set PYRO_VAE_DATA to the folder that has tables/."
    )
    return path


def _text(name: str, columns: slice, **how: Any) -> Array:
    import pandas as pd

    frame = pd.read_csv(_file(name), **how)
    return frame.iloc[:, columns].to_numpy(np.float64)


def _breast_cancer() -> Array:
    from sklearn.datasets import load_breast_cancer

    return np.asarray(load_breast_cancer().data, np.float64)


COMPLETE: ByName[Callable[[], Array]] = ByName(
    {
        "breast-cancer": _breast_cancer,
        "banknote": lambda: _text("data_banknote_authentication.txt", slice(0, 4), header=None),
        "concrete": lambda: _text("Concrete_Data.csv", slice(0, 9)),
        "red-wine": lambda: _text("winequality-red.csv", slice(0, 11), sep=";"),
        "white-wine": lambda: _text("winequality-white.csv", slice(0, 11), sep=";"),
        "yeast": lambda: _text("yeast.data", slice(1, 9), sep=r"\s+", header=None),
    }
)
"""Real columns without missing values, by name; labels left out (of concrete, the strength is kept)."""

LABELLED = ("mammography", "cardio_odds", "shuttle_odds", "annthyroid_21feat_normalised")
"""Tables whose last column marks anomalies by 1."""


def labelled(name: str) -> tuple[Array, NDArray[np.bool_]]:
    """Return rows (N, D) and which of them are anomalies, shape (N,).

    Raises:
        InputError: If there is no such table.
    """
    check(name in LABELLED, f"Expected one of {', '.join(LABELLED)}; got {name!r}.")
    table = _text(f"{name}.csv", slice(None))
    return table[:, :-1], table[:, -1] == 1


MIXED: ByName[str] = ByName(
    {
        "penguins": "penguins.csv",
        "titanic": "titanic.csv",
        "hepatitis": "hepatitis.data",
        "cleveland": "processed.cleveland.data",
        "german": "german.data",
        "adult": "adult.data",
    }
)
"""Tables of mixed columns by name."""


def mixed(name: str, max_rows: int) -> tuple[Array, tuple[Column, ...]]:
    """Return evenly spaced stored rows of a table of mixed columns, NaN where missing, and its columns."""
    stored = read_table(_file(MIXED[name]))
    rows = np.asarray(stored.array, np.float64)
    assert stored.columns is not None
    return rows[np.linspace(0, len(rows) - 1, min(max_rows, len(rows))).astype(int)], stored.columns
