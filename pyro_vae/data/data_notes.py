"""Notes on rows and columns that are printed before training."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from pyro_vae.data.packed_bits import packed_hint
from pyro_vae.data.preprocessing import Dequantize, IntegerLevels, Preprocessing
from pyro_vae.data.splits import Split
from pyro_vae.data.stored import Stored, Survey, column_list, listed

__all__ = ["few_rows_note", "notes_on"]

INDEX_NAME = re.compile(
    r"(unnamed: \d+|(row[ _]?)?(id|idx|index|nr|no\.?|number|uuid|key)|.*[_ .-]id|.*[a-z]Id)"
)
FEW_ROWS = 100
FEW_LEVELS = 10
SAMPLE = 4096


def notes_on(stored: Stored, found: Survey, preprocessing: Preprocessing, train: Split) -> tuple[str, ...]:
    """Return notes on the training rows, and on the columns of tables."""
    constant = int((train.stored_moments[1] == 0).sum())
    alike = constant == train.data_dim
    floats = stored.array.dtype.kind == "f"
    notes = {
        "All training rows are identical.": alike,
        f"{constant} of {train.data_dim} columns are constant in the training rows.": constant and not alike,
        "All values are whole numbers but stored as floats, so they are not dequantized; store them as "
        "integers for that.": floats and found.whole and not found.binary,
    }
    sentences = tuple(sentence for sentence, holds in notes.items() if holds) + few_rows_note(train)
    return sentences + (() if alike else _column_notes(stored, found, preprocessing))


def few_rows_note(train: Split) -> tuple[str, ...]:
    """Return a note on the number of training rows if there are few."""
    return (f"There are only {len(train)} training rows.",) if len(train) < FEW_ROWS else ()


def _column_notes(stored: Stored, found: Survey, preprocessing: Preprocessing) -> tuple[str, ...]:
    """Return notes on columns that look like an index, and on whole numbers under a continuous likelihood."""
    if stored.array.ndim != 2:
        return ()
    hint = packed_hint(stored, found)
    return (*[hint] * bool(hint), *_index_note(stored), *_level_note(stored, found, preprocessing))


def _index_note(stored: Stored) -> Iterator[str]:
    names = stored.column_names
    running = _running(stored.array)
    if columns := sorted({*running, *(j for j, name in enumerate(names or ()) if _index_name(name))}):
        why = " (it counts the rows)" if columns == running[:1] else ""
        yield (
            f"Kept as data although the name or the values look like an index: {column_list(columns, names)}{why}. "
            "Leave such a column out of the file unless it is intended."
        )


def _index_name(name: str) -> bool:
    return bool(INDEX_NAME.fullmatch(name) or INDEX_NAME.fullmatch(name.lower()))


def _running(array: NDArray) -> list[int]:
    """Return the columns that count the rows, from 0 or from 1."""
    count = len(array)
    first, last = array[0].astype(float), array[-1].astype(float)
    likely = np.flatnonzero(((first == 0) | (first == 1)) & (last - first == count - 1)) if count > 2 else ()
    return [int(j) for j in likely if np.array_equal(array[:, j], first[j] + np.arange(count))]


def _level_note(stored: Stored, found: Survey, preprocessing: Preprocessing) -> Iterator[str]:
    noise = isinstance(preprocessing, Dequantize)
    if isinstance(preprocessing, IntegerLevels):
        return
    if preprocessing.description.startswith("binary") or (preprocessing.random and not noise):
        return
    if found.binary:
        yield "All values are 0 or 1: the bernoulli likelihood gives them probabilities, this one a density."
        return
    levels = {
        j: values for j in range(stored.array.shape[1]) if (values := _levels(stored.array, j)) is not None
    }
    if not levels or (noise and stored.column_names is None):
        return
    names = stored.column_names
    text = listed(f"{repr(names[j]) if names else j} ({_span(values)})" for j, values in levels.items())
    many = len(levels) > 1
    effect = (
        "they are dequantized (uniform noise is added), not modelled as classes."
        if noise
        else "a density can rise without limit at values that repeat, so such columns can dominate the "
        "log-likelihood. Leave them out, or name one 'label' to have it taken as the class."
    )
    start = "Columns of few whole numbers" if many else "A column of few whole numbers"
    yield f"{start} under a continuous likelihood: {text}; {effect}"


def _levels(array: NDArray, column: int) -> NDArray | None:
    """Return the different values of a column of 2 to `FEW_LEVELS` whole numbers, each ten times or more on average."""
    rows = array[:: -(-len(array) // SAMPLE), column]
    values = np.unique(rows).astype(float)
    few = 2 <= len(values) <= FEW_LEVELS and 10 * len(values) <= len(rows)
    whole = few and bool((values == np.floor(values)).all() and values[-1] - values[0] < 2 * FEW_LEVELS)
    return values if whole and bool(np.isin(array[:, column], values).all()) else None


def _span(values: NDArray) -> str:
    first, last = int(values[0]), int(values[-1])
    if last - first == len(values) - 1 and len(values) > 2:
        return f"{first} to {last}"
    return listed((int(value) for value in values), most=4)
