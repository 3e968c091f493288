"""Interpretation of the arrays of a `.npz` archive: rows of each split, labels, and arrays that are not used.

Keys are case-insensitive. Rows of a split are stored as `train`, `x_train` or `train_images`, their labels under
`train_labels` or `y_train`; likewise `test`, and `validation`, `valid` or `val`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import permutations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pyro_vae._checks import InputError, check
from pyro_vae.data.image_axes import channels_first, is_channels_last
from pyro_vae.data.labels import encode_labels
from pyro_vae.data.stored import Stored, listed, ranges

__all__ = ["SPLITS", "read_arrays", "stored_rows", "unused_note"]

SPLITS = {"train": ("train",), "validation": ("validation", "valid", "val"), "test": ("test",)}
ROWS = ("x", "data", "images")
LABELS = ("y", "labels", "target")
CLASSES = ("classes", "class_names")
NEAR_SPLITS = ("train", "test", "val", "dev", "eval", "holdout")
UNITS = ((0, 1), (-1, 1), (0, 255), (0, 65535))
SAMPLE, FARTHEST = 1000, 20.0
"""Number of sampled rows, and the median distance from another split's mean above which units differ, in SDs."""


def read_arrays(path: Path, arrays: dict[str, NDArray]) -> Stored:
    """Return the data of an archive.

    Raises:
        InputError: If the meaning of the arrays is ambiguous, or they do not match.
    """
    _check_plain(path, arrays)
    left = dict(arrays)
    parts = {split: found for split in SPLITS if (found := _take(left, _row_keys(split), path)) is not None}
    if "train" in parts:
        return _with_splits(path, parts, left)
    left = dict(arrays)
    rows = _take(left, ROWS, path)
    if rows is None and len(left) == 1:
        rows = left.popitem()[1]
    if rows is None:
        near = [key for key in arrays if _resembles_split(key)]
        raise InputError(
            f"Expected {path} to hold train and test, or one of {', '.join(ROWS)}, or a single array; "
            f"got the keys {', '.join(arrays) or 'none'}. "
            + (
                f"Rename {listed(near)} to train, validation or test."
                if near
                else "numpy.savez(path, x=x, y=y)."
            )
        )
    return stored_rows(path, rows, _take(left, LABELS, path), left)


def _check_plain(path: Path, arrays: Mapping[str, NDArray]) -> None:
    check(
        not {"format", "shape"} <= set(arrays),
        f"Expected plain arrays in {path}; got a sparse matrix of SciPy. Store it densely: "
        f"numpy.save('x.npy', scipy.sparse.load_npz({str(path)!r}).toarray()).",
    )
    mask = next((key for key in arrays if key.lower().endswith("mask")), None)
    check(
        mask is None or arrays[mask].dtype != bool,
        f"Expected no masked entries in {path}; got the array {mask!r}. Missing values are not modelled yet: fill the "
        f"masked entries (numpy.where({mask}, ..., x)), and leave {mask!r} out of the file.",
    )


def _row_keys(split: str) -> list[str]:
    return [key for name in SPLITS[split] for key in (name, f"x_{name}", f"{name}_images")]


def _label_keys(split: str) -> list[str]:
    return [key for name in SPLITS[split] for key in (f"{name}_labels", f"y_{name}")]


def _take(arrays: dict[str, NDArray], names: Sequence[str], path: Path) -> NDArray | None:
    """Remove and return the array with one of the names (case-insensitive); for `ROWS` and `LABELS` the first one."""
    found = sorted((key for key in arrays if key.lower() in names), key=lambda key: names.index(key.lower()))
    if len(found) > 1 and names not in (ROWS, LABELS):
        raise InputError(
            f"Expected one array for each split of {path}; got {', '.join(found)} for the same. Remove all but one."
        )
    return arrays.pop(found[0]) if found else None


def _with_splits(path: Path, parts: dict[str, NDArray], left: dict[str, NDArray]) -> Stored:
    for name, part in parts.items():
        check(
            part.shape[1:] == parts["train"].shape[1:] and part.ndim > 0,
            f"Expected {name} in {path} to have rows of shape {parts['train'].shape[1:]} as train has; "
            f"got {part.shape[1:]}.",
        )
    _check_units(path, parts)
    labels = [found for name in parts if (found := _take(left, _label_keys(name), path)) is not None]
    check(
        len(labels) in (0, len(parts)),
        f"Expected labels in {path} for {', '.join(parts)} or for none; got {len(labels)} of {len(parts)}.",
    )
    for name, one in zip(parts, labels, strict=False):
        check(
            len(one) == len(parts[name]),
            f"Expected one label for each of the {len(parts[name])} rows of {name} in {path}; got {len(one)}.",
        )
    rows = np.concatenate(list(parts.values()))
    return stored_rows(path, rows, np.concatenate(labels) if labels else None, left, ranges(parts))


def stored_rows(
    path: Path,
    array: NDArray,
    labels: NDArray | None = None,
    left: Mapping[str, NDArray] | None = None,
    given: dict[str, NDArray[np.int64]] | None = None,
) -> Stored:
    """Return rows (images with channels first) with notes on decisions and unused arrays."""
    left = dict(left or {})
    names = next((left.pop(key) for key in list(left) if key.lower() in CLASSES), None)
    class_names = None if names is None else tuple(str(name) for name in names.ravel())
    codes, text_names = (None, None) if labels is None else encode_labels(labels, f"the labels in {path}")
    notes = [unused_note("Arrays", list(left), path.name)] if left else []
    row_shape = array.shape[1:] if array.ndim == 4 else None
    if array.ndim == 4:
        if is_channels_last(array.shape, str(path)):
            height, width, channels = array.shape[1:]
            notes.append(
                f"Rows of shape {array.shape[1:]} were taken as images of {height} x {width} pixels with {channels} "
                f"channel{'s' if channels > 1 else ''}, channels last."
            )
        array = channels_first(array, str(path))
    return Stored(
        str(path),
        array,
        codes,
        given or {},
        text_names or class_names,
        notes=tuple(notes),
        row_shape=row_shape,
    )


def unused_note(kind: str, names: Sequence[str], place: str) -> str:
    """Return a note on unused arrays or folders; it suggests renaming those that resemble a split."""
    near = [name for name in names if _resembles_split(name)]
    rename = f" If {listed(near)} should be a split, rename to train, validation or test." if near else ""
    return f"{kind} {listed(names)} of {place} were not used.{rename}"


def _resembles_split(name: str) -> bool:
    return any(near in name.lower() for near in NEAR_SPLITS)


def _check_units(path: Path, parts: Mapping[str, NDArray]) -> None:
    """Raise `InputError` if two splits are evidently measured in different units."""
    parts = {name: part for name, part in parts.items() if part.size and part.dtype.kind in "biuf"}
    floats = {name: part.dtype.kind == "f" for name, part in parts.items()}
    spans = {name: (float(part.min()), float(part.max())) for name, part in parts.items()}
    for a, b in permutations(parts, 2):
        known = spans[a] in UNITS and spans[b] in UNITS and spans[a] != spans[b]
        if floats[a] > floats[b] or known or _far(parts[a], parts[b]):
            raise InputError(
                f"Expected the splits of {path} in one unit; {_described(a, parts[a], spans[a])} but "
                f"{_described(b, parts[b], spans[b])}. Bring them to the same type and range."
            )


def _described(name: str, part: NDArray, span: tuple[float, float]) -> str:
    return f"{name} holds {part.dtype} from {span[0]:g} to {span[1]:g}"


def _far(part: NDArray, other: NDArray) -> bool:
    """Whether the median distance of the rows from the other mean exceeds `FARTHEST` of its standard deviations."""
    rows, others = (_evenly(array) for array in (part, other))
    with np.errstate(all="ignore"):  # values that are not finite raise an error later
        typical = np.sqrt(others.var(0).mean())
        return bool(np.median(np.sqrt(np.square(rows - others.mean(0)).mean(1))) > FARTHEST * typical > 0)


def _evenly(array: NDArray) -> NDArray[np.float64]:
    rows = array[:: -(-len(array) // SAMPLE)]
    return rows.reshape(len(rows), -1).astype(np.float64)
