"""`Stored`, the result of every reader, the pass that checks its values, and its conversion to rows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from pyro_vae._checks import InputError, check
from pyro_vae.data.columns import Column
from pyro_vae.data.image_options import AS_THEY_ARE, ImageOptions
from pyro_vae.data.row_tensors import MappedRows, Rows, TensorRows
from pyro_vae.data.table_options import TableOptions

__all__ = [
    "Stored",
    "Survey",
    "chunks",
    "column_list",
    "listed",
    "ranges",
    "rows_of",
    "survey",
]

CHUNK = 2**22  # entries read at a time: 32 MiB as float64
WAYS = {
    "c": "Store real and imaginary parts as columns: numpy.concatenate([x.real, x.imag], 1).",
    "M": "Store seconds: (x - x.min()) / numpy.timedelta64(1, 's').",
    "m": "Store seconds: x / numpy.timedelta64(1, 's').",
    "V": "Store its fields as columns: numpy.lib.recfunctions.structured_to_unstructured(x).",
    "U": "Store x.astype(float), or classes of text as labels.",
    "S": "Store x.astype(float), or classes of text as labels.",
}
INTEGERS = (np.uint8, np.int16, np.int32, np.int64)  # the integer types that torch computes with


@dataclass(frozen=True)
class Stored:
    """Data as read from a file.

    Attributes:
        name: Name in messages.
        array: Numbers of shape (N, *data_shape), possibly memory-mapped.
        labels: Classes, int64 (N,), or None.
        given: Row numbers of the splits in the file, by name; {"train": all} if it has none.
        class_names: Names of classes 0, 1, ...
        column_names: Names of the D columns.
        levels: Number of integer levels, if it is known independently of the values.
        drawn: Sizes of the splits to draw, by name, if other than a tenth.
        description: Name of the binarization, for binary data that has one.
        notes: Notes on the data, as sentences.
        image_options: Options for reading images.
        row_shape: Shape of a row in the file, if it differs from that in `array`: channels last, or one channel.
        columns: Kinds and levels of the columns of a table, whose entries may be NaN (not observed).
        table_options: Options for reading the table.
        kinds: The columns of that table and those left out, as lines of text.
    """

    name: str
    array: NDArray
    labels: NDArray[np.int64] | None = None
    given: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    class_names: tuple[str, ...] | None = None
    column_names: tuple[str, ...] | None = None
    levels: int | None = None
    drawn: dict[str, int] = field(default_factory=dict)
    description: str = "binary as stored"
    notes: tuple[str, ...] = ()
    image_options: ImageOptions = AS_THEY_ARE
    row_shape: tuple[int, ...] | None = None
    columns: tuple[Column, ...] | None = None
    table_options: TableOptions | None = None
    kinds: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_array(self.array, self.name)
        if self.labels is not None:
            _check_labels(self.labels, len(self.array), self.class_names, self.name)
        if not self.given:
            self.given["train"] = np.arange(len(self.array))


@dataclass(frozen=True)
class Survey:
    """Result of one pass over all entries: minimum, maximum, whether all are integers, and the hash."""

    low: float
    high: float
    whole: bool
    sha256: str

    @property
    def binary(self) -> bool:
        """Whether every entry is 0 or 1."""
        return self.whole and self.low >= 0 and self.high <= 1


def _check_array(array: NDArray, name: str) -> None:
    kinds = {"O": "Python objects", "c": "complex numbers", "V": "records", "U": "text", "S": "text"}
    wrong = kinds.get(array.dtype.kind, "" if array.dtype.kind in "biuf" else str(array.dtype))
    remedy = WAYS.get(array.dtype.kind, "Store real numbers.")
    check(not wrong, f"Expected numbers in {name}; got {wrong} (dtype {array.dtype}). {remedy}")
    check(
        array.ndim >= 2,
        f"Expected {name} of shape (N, D) or (N, height, width); got {array.shape}. "
        f"{'A single column is x.reshape(-1, 1).' if array.ndim else 'One number is no data set.'}",
    )
    check(len(array) > 0, f"Expected rows in {name}; got none (shape {array.shape}).")
    check(array.size > 0, f"Expected at least one column in {name}; got shape {array.shape}.")


def _check_labels(labels: NDArray[np.int64], rows: int, names: tuple[str, ...] | None, name: str) -> None:
    check(
        labels.shape == (rows,),
        f"Expected one label for each of the {rows} rows of {name}; got labels of shape {labels.shape}.",
    )
    check(
        names is None or 0 <= labels.min() <= labels.max() < len(names),
        f"Expected labels of {name} from 0 to {len(names or ()) - 1}, one for each class name; "
        f"got {labels.min()} to {labels.max()}.",
    )


def listed(items: Iterable[object], most: int = 8) -> str:
    """Return items separated by commas, at most `most` of them: "a, b and 12 more"."""
    words = [str(item) for item in items]
    return ", ".join(words[:most]) + (f" and {len(words) - most} more" if len(words) > most else "")


def column_list(columns: Sequence[int], names: Sequence[str] | None = None) -> str:
    """Return columns in words: "column 'a'", "columns 0, 5 (counted from 0)"."""
    items = listed(repr(names[j]) if names else j for j in columns)
    return f"column{'s' if len(columns) > 1 else ''} {items}{'' if names else ' (counted from 0)'}"


def ranges(parts: Mapping[str, NDArray]) -> dict[str, NDArray[np.int64]]:
    """Return the row numbers of each part in the concatenation of all."""
    stops = np.cumsum([len(part) for part in parts.values()])
    spans = zip(parts.items(), stops, strict=True)
    return {name: np.arange(stop - len(part), stop) for (name, part), stop in spans}


def chunks(count: int, data_dim: int) -> Iterator[slice]:
    """Divide `count` rows of `data_dim` entries into slices that are small enough to convert."""
    size = max(1, CHUNK // data_dim)
    return (slice(start, min(start + size, count)) for start in range(0, count, size))


def survey(stored: Stored) -> Survey:
    """Read all entries once, in chunks: determine their range and hash, and check that they are finite.

    Raises:
        InputError: On NaN, infinite values, and values beyond float32 (integers: int64).
    """
    array, floats = stored.array, stored.array.dtype.kind == "f"
    digest = hashlib.sha256(f"{array.shape} {array.dtype.str}".encode())
    low, high, whole = np.inf, -np.inf, True
    for part in chunks(len(array), array[0].size):
        block = np.ascontiguousarray(array[part])
        seen = block if stored.columns is None else block[~np.isnan(block)]
        if floats and not np.isfinite(seen).all():
            raise InputError(_not_finite(stored))
        if seen.size:
            low, high = min(low, seen.min().item()), max(high, seen.max().item())
        whole = whole and (not floats or bool((seen == np.floor(seen)).all()))
        digest.update(block.data)
    limit = float(np.finfo(np.float32).max) if floats else np.iinfo(np.int64).max
    largest = max(-low, high)
    check(
        largest <= limit,
        f"Expected values of {stored.name} up to {limit:.3g}; got {largest:.3g}. Rescale them first.",
    )
    for name, extra in {"labels": stored.labels, **stored.given}.items():
        if extra is not None:
            digest.update(f"{name} {len(extra)}".encode() + extra.tobytes())
    return Survey(low, high, whole, digest.hexdigest())


def _not_finite(stored: Stored) -> str:
    count, first = 0, None
    for part in chunks(len(stored.array), stored.array[0].size):
        block = stored.array[part].reshape(part.stop - part.start, -1)
        broken = np.argwhere(~np.isfinite(block))
        if len(broken) and first is None:
            row, column = (int(i) for i in broken[0])
            first = f"{block[row, column]} in row {part.start + row}, column {column}"
            first += f" ({stored.column_names[column]!r})" if stored.column_names else ""
        count += len(broken)
    return (
        f"Expected finite values in {stored.name}; got {first} (counted from 0), {count} such in all. "
        "Missing values are not modelled in arrays: save a table as .csv for --likelihood table, or fill the gaps."
    )


def rows_of(array: NDArray, low: float, high: float, *, exact: bool = False) -> Rows:
    """Return the rows of `array` (N, ...) flattened, in memory unless it is memory-mapped.

    Floats become float32, or float64 if `exact` (for `Centre`); integers get the smallest type that holds `low` to
    `high`.
    """
    floats = np.dtype(np.float64 if exact else np.float32)
    dtype = floats if array.dtype.kind == "f" else _smallest(low, high)
    if isinstance(array, np.memmap):
        return MappedRows(array, dtype)
    rows = np.ascontiguousarray(array.reshape(len(array), -1), dtype=dtype)
    return TensorRows(torch.from_numpy(rows if rows.flags.writeable else rows.copy()))


def _smallest(low: float, high: float) -> np.dtype:
    return np.dtype(next(t for t in INTEGERS if np.iinfo(t).min <= low and high <= np.iinfo(t).max))
