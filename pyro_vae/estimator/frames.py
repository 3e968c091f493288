"""Data frames of mixed columns as rows of numbers and back, for `VAE(likelihood="table")`."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pyro_vae._checks import check
from pyro_vae.baselines._gaussian import Array
from pyro_vae.data.column_kinds import encoded, infer_column
from pyro_vae.data.column_values import observed_text
from pyro_vae.data.columns import COLUMN_KINDS, Column
from pyro_vae.data.table_options import AS_FOUND

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FrameColumns", "check_names", "is_frame_of_kinds"]

DECIMAL = "auto"


def is_frame_of_kinds(X: Any, kinds: Any) -> bool:
    """Return whether X is a DataFrame whose columns' kinds are to be inferred.

    It is where kinds are given by name, or where a column holds something else than numbers.
    """
    if not (type(X).__module__.startswith("pandas") and hasattr(X, "columns")):
        return False
    return isinstance(kinds, Mapping) or any(getattr(dtype, "kind", "O") not in "iuf" for dtype in X.dtypes)


def check_names(frame: pd.DataFrame) -> None:
    """Raise `InputError` if names of columns are not different texts, by which columns are found again."""
    names = list(frame.columns)
    check(
        all(isinstance(name, str) for name in names) and len(set(names)) == len(names),
        f"Expected different texts as names of the columns of X; got {names[:8]}. Rename them.",
    )


@dataclass(frozen=True)
class FrameColumns:
    """The columns of a training frame: their kinds, and how entries are stored and given back.

    Args:
        names: Names of all columns of the frame.
        columns: That are modelled.
        left_out: By name, why the others are not: identifiers, constants, columns without values.
        dtypes: Dtypes of the modelled columns.
        originals: By name, the value of each level.
    """

    names: tuple[str, ...]
    columns: tuple[Column, ...]
    left_out: dict[str, str]
    dtypes: dict[str, Any]
    originals: dict[str, tuple[Any, ...]]

    @classmethod
    def of(cls, frame: pd.DataFrame, kinds: Mapping[str, str] | None) -> tuple[FrameColumns, Array]:
        """Return the columns of a training frame, by the rules of `--likelihood table`, and its stored rows.

        Args:
            frame: N rows.
            kinds: Kinds of columns by name; those of the others are inferred.

        Raises:
            InputError: If names are no text, a kind does not fit, or no column is left.
        """
        check(
            kinds is None or isinstance(kinds, Mapping),
            f"Expected kinds as a dict from columns of X, which has columns that are no numbers; got {kinds!r}.",
        )
        given = dict(kinds or {})
        unknown = [name for name in given if name not in frame.columns]
        check(
            not unknown and set(given.values()) <= set(COLUMN_KINDS),
            f"Expected kinds as a dict from columns of X to {', '.join(COLUMN_KINDS)}; got {given}.",
        )
        found = {
            name: infer_column(str(name), _text(frame[name]), DECIMAL, given.get(name))
            for name in frame.columns
        }
        kept = {name: one for name, one in found.items() if one.column is not None}
        left_out = {name: one.why for name, one in found.items() if one.column is None}
        check(bool(kept), f"Expected a column to model in X; left out were {left_out}. Give kinds by name.")
        columns = tuple(one.column for one in kept.values() if one.column is not None)
        originals = {
            name: _originals(frame[name], one.values, len(one.column.levels))
            for name, one in kept.items()
            if one.column is not None and one.column.levels
        }
        dtypes = {name: frame[name].dtype for name in kept}
        rows = np.stack([one.values for one in kept.values()], axis=1)
        return cls(tuple(frame.columns), columns, left_out, dtypes, originals), rows

    @staticmethod
    def check_is_frame(X: Any) -> None:
        """Raise `InputError` if X is no DataFrame, or has no rows."""
        check(
            hasattr(X, "columns"),
            f"Expected X as a DataFrame, as in fit; got {type(X).__name__}. Give the same columns.",
        )
        check(len(X) > 0, "Expected X of at least one row; got none. Give rows to score.")

    def encode(self, frame: pd.DataFrame) -> Array:
        """Return the stored rows of a frame, shape (N, D), NaN where not observed or where a level is unseen.

        Raises:
            InputError: If it holds values that are not of their column's kind.

        Warns:
            UserWarning: If there are levels that the training rows do not have.
        """
        entries = []
        for column in self.columns:
            values, unseen = encoded(column, _text(frame[column.name]), DECIMAL)
            entries.append(values)
            if unseen:
                warnings.warn(
                    f"Column {column.name!r} holds levels that the training rows do not have: "
                    f"{', '.join(map(repr, unseen[:6]))}. Such entries are taken as not observed.",
                    UserWarning,
                    stacklevel=4,
                )
        return np.stack(entries, axis=1)

    def decode(self, rows: Array) -> pd.DataFrame:
        """Return stored rows (N, D), all observed, as a frame of the modelled columns in the dtypes of training."""
        import pandas as pd

        return pd.DataFrame(
            {
                column.name: self._restored(column, values)
                for column, values in zip(self.columns, rows.T, strict=True)
            }
        )

    def complete(self, frame: pd.DataFrame, rows: Array) -> pd.DataFrame:
        """Return a copy of a frame, its missing entries of modelled columns from completed rows (N, D)."""
        completed, decoded = frame.copy(), self.decode(rows).set_axis(frame.index)
        for column in self.columns:
            missing = _text(frame[column.name]).isna().to_numpy()
            if missing.any():
                values = frame[column.name].astype(object)
                values[missing] = decoded[column.name][missing]
                completed[column.name] = _as_dtype(values, frame[column.name].dtype)
        return completed

    def _restored(self, column: Column, values: Array) -> pd.Series:
        import pandas as pd

        dtype = self.dtypes[column.name]
        if column.levels:
            # A mean of codes, as of an ordinal column, is that of the nearest level.
            codes = np.clip(np.rint(values), 0, len(column.levels) - 1).astype(np.int64)
            originals = self.originals[column.name]
            return _as_dtype(pd.Series([originals[code] for code in codes], dtype=object), dtype)
        if column.date_format:
            days = pd.Series(pd.to_datetime(values, unit="D", utc="%z" in column.date_format).round("s"))
            if getattr(dtype, "kind", "") != "M":
                return days.dt.strftime(column.date_format).astype(object)
            zone = getattr(dtype, "tz", None)
            return (
                days
                if zone is None
                else days.dt.tz_localize(zone, ambiguous=True, nonexistent="shift_forward")
            )
        return _as_dtype(pd.Series(values), dtype)


def _text(values: pd.Series) -> pd.Series:
    if getattr(values.dtype, "kind", "") == "M":
        values = values.dt.strftime("%Y-%m-%d %H:%M:%S")
    return observed_text(values, AS_FOUND)


def _originals(values: pd.Series, codes: Array, count: int) -> tuple[Any, ...]:
    """Return the first value of each level; levels are those of observed entries."""
    entries = values.to_numpy(dtype=object)
    return tuple(entries[int(np.argmax(codes == code))] for code in range(count))


def _as_dtype(values: pd.Series, dtype: Any) -> pd.Series:
    """Return values in a dtype, rounded where it is one of whole numbers; as they are where it cannot hold them."""
    if getattr(dtype, "kind", "") in "iu" and getattr(values.dtype, "kind", "") == "f":
        values = values.round()
    try:
        return values.astype(dtype)
    except (TypeError, ValueError):
        return values
