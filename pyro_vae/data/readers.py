"""People's own data, by path: files and folders to `Stored` arrays. Nothing that is read can run code.

| path | what it holds |
| --- | --- |
| `.npy` | one array (N, D), (N, H, W), (N, H, W, C) or (N, C, H, W); memory-mapped, never loaded whole |
| `.npz` | arrays `train`, `test`, `valid` or `validation`, each perhaps with `train_labels` and so on |
| | (Keras's `x_train`, `y_train`, `x_test`, `y_test` too); or one array `x`, `X`, `data` or `images`, |
| | perhaps with `y`, `labels` or `target`; or a single array of any name. `classes` or `class_names` |
| | name the classes |
| `.csv` | a header and numbers, comma-separated; one column `label`, `class`, `target` or (without a column |
| | `x` or `z` beside it) `y` holds classes |
| `.amat` | numbers separated by white space, no header, no labels |
| folder | images of one size: see `pyro_vae.data.images` |

Four-dimensional arrays whose last axis is 1, 3 or 4 and whose second is not are taken as channels last;
`data_shape` has the channels first. Splits that a file makes are kept; a missing one is drawn from `train`.
"""

from __future__ import annotations

import tokenize
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pyro_vae._checks import InputError, check
from pyro_vae.data.conversions import ending_hint
from pyro_vae.data.images import read_image_folder
from pyro_vae.data.labels import encode_labels
from pyro_vae.data.stored import Stored, ranges
from pyro_vae.data.tables import read_amat, read_csv

__all__ = ["READERS", "read", "read_npy", "read_npz"]

CHANNELS = (1, 3, 4)
ROWS = ("x", "X", "data", "images")
LABELS = ("y", "labels", "target")
CLASSES = ("classes", "class_names")
SPLITS = {"train": ("train", "x_train"), "validation": ("validation", "valid"), "test": ("test", "x_test")}
DAMAGED = (  # what NumPy lets through from its parsers
    ValueError,
    EOFError,
    NotImplementedError,
    SyntaxError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)


def read(path: Path) -> Stored:
    """Read the file or folder at `path` by the reader for its ending.

    Raises:
        InputError: With one sentence on what is wrong with the file.
    """
    ending = path.suffix.lower()
    check(path.exists(), f"Expected a file or folder at {path}; there is none.")
    if not path.is_dir() and ending not in READERS:
        expected = f"Expected a folder of images or a file ending in {', '.join(READERS)}"
        raise InputError(f"{expected}; got {path}. {ending_hint(path)}".rstrip())
    check(path.is_dir() or path.stat().st_size > 0, f"Expected data in {path}; the file is empty (0 bytes).")
    try:
        return read_image_folder(path) if path.is_dir() else READERS[ending](path)
    except OSError as error:
        raise InputError(f"Could not read {path}: {error.strerror or error}.") from error


def read_npy(path: Path) -> Stored:
    """Map a `.npy` array into memory."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except DAMAGED as error:
        raise _unreadable(path, error) from error
    if not isinstance(array, np.ndarray):
        array.close()
        raise InputError(f"Expected a single array in {path}; got an archive of arrays. Name it .npz.")
    return _stored(path, array)


def read_npz(path: Path) -> Stored:
    """Load the arrays of a `.npz` archive, with its splits, labels and class names where it has them."""
    try:
        with path.open("rb") as file:  # np.load leaves a damaged file open
            archive = np.load(file, allow_pickle=False)
            arrays = {} if isinstance(archive, np.ndarray) else dict(archive)
    except DAMAGED as error:
        raise _unreadable(path, error) from error
    if _key(arrays, SPLITS["train"]) is not None:
        return _with_splits(path, arrays)
    key = _key(arrays, ROWS) or (next(iter(arrays)) if len(arrays) == 1 else None)
    if key is None:
        raise InputError(
            f"Expected {path} to hold train and test, or one of {', '.join(ROWS)}, or a single array; "
            f"got the keys {', '.join(arrays) or 'none'}."
        )
    label = _key(arrays, LABELS)
    return _stored(path, arrays.pop(key), arrays.pop(label) if label else None, arrays)


def _with_splits(path: Path, arrays: dict[str, NDArray]) -> Stored:
    found = {name: key for name, keys in SPLITS.items() if (key := _key(arrays, keys)) is not None}
    parts = {name: arrays.pop(key) for name, key in found.items()}
    for name, part in parts.items():
        check(
            part.shape[1:] == parts["train"].shape[1:] and part.ndim > 0,
            f"Expected {name} in {path} to have rows of shape {parts['train'].shape[1:]} as train has; "
            f"got {part.shape[1:]}.",
        )
    classes = [arrays.pop(key, None) for key in (_label_key(key) for key in found.values())]
    named = [part for part in classes if part is not None]
    check(
        len(named) in (0, len(parts)),
        f"Expected labels in {path} for {', '.join(parts)} or for none; got {len(named)} of {len(parts)}.",
    )
    labels = np.concatenate(named) if named else None
    return _stored(path, np.concatenate(list(parts.values())), labels, arrays, ranges(parts))


def _label_key(key: str) -> str:
    return key.replace("x_", "y_") if key.startswith("x_") else f"{key}_labels"


def _stored(
    path: Path,
    array: NDArray,
    labels: NDArray | None = None,
    others: Mapping[str, NDArray] | None = None,
    given: dict[str, NDArray[np.int64]] | None = None,
) -> Stored:
    others = dict(others or {})
    names = _key(others, CLASSES)
    class_names = tuple(str(name) for name in others.pop(names).ravel()) if names else None
    codes, text_names = (None, None) if labels is None else encode_labels(labels, f"the labels in {path}")
    ignored = (f"Arrays {', '.join(others)} of {path.name} were not used.",) if others else ()
    return Stored(
        str(path), _channels_first(array), codes, given or {}, text_names or class_names, notes=ignored
    )


def _channels_first(array: NDArray) -> NDArray:
    if array.ndim == 4 and array.shape[3] in CHANNELS and array.shape[1] not in CHANNELS:
        array = array.transpose(0, 3, 1, 2)
    return array[:, 0] if array.ndim == 4 and array.shape[1] == 1 else array


def _key(arrays: Mapping[str, NDArray], names: tuple[str, ...]) -> str | None:
    return next((name for name in names if name in arrays), None)


def _unreadable(path: Path, error: Exception) -> InputError:
    if "pickle" in str(error).lower() or "Python objects" in str(error):
        return InputError(
            f"Expected plain numbers in {path}; got pickled Python objects, which are never loaded because "
            "they can run code. Save x.astype(float) instead."
        )
    return InputError(
        f"Could not read {path} as a NumPy file ({' '.join(str(error).split())}). Save it again."
    )


READERS: dict[str, Callable[[Path], Stored]] = {
    ".npy": read_npy,
    ".npz": read_npz,
    ".csv": read_csv,
    ".amat": read_amat,
}
