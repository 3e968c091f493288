"""Readers of files and folders by path. They return `Stored` arrays; no file can run code.

| path | what it holds |
| --- | --- |
| `.npy` | one array (N, D), (N, H, W), (N, H, W, C) or (N, C, H, W); memory-mapped, not loaded into memory |
| `.npz` | arrays `train`, `test`, `validation` (`valid`, `val`), each optionally with `train_labels` etc.; |
| | Keras's `x_train`, `y_train`, ..., MedMNIST's `train_images`, ... too; or one array `x`, `data` or |
| | `images`, optionally with `y`, `labels` or `target`; or a single array of any name. `classes` or |
| | `class_names` name the classes. Keys are case-insensitive, see `pyro_vae.data.archives` |
| `.csv` | a header and numbers, comma-separated; one column `label`, `class`, `target` or (without a column |
| | `x` or `z` beside it) `y` holds classes |
| `.amat` | numbers separated by white space, no header, no labels |
| folder | images: see `pyro_vae.data.images` |

Four-dimensional arrays whose last axis is 1, 3 or 4 and whose second is not are read as channels last, with a note; if
both are, it is an error. `data_shape` has the channels first. Splits in a file are kept; a missing one is drawn from
`train`. Arrays of packed bits are unpacked on request: see `pyro_vae.data.packed_bits`.
"""

from __future__ import annotations

import tokenize
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from pyro_vae._checks import InputError, check
from pyro_vae.data.archives import read_arrays, stored_rows
from pyro_vae.data.conversions import ending_hint
from pyro_vae.data.image_options import AS_THEY_ARE, ImageOptions
from pyro_vae.data.images import read_image_folder
from pyro_vae.data.packed_bits import unpacked
from pyro_vae.data.stored import Stored
from pyro_vae.data.tables import read_amat, read_csv

__all__ = ["READERS", "read", "read_npy", "read_npz"]

DAMAGED = (  # exceptions of NumPy's parsers on damaged files
    ValueError,
    EOFError,
    NotImplementedError,
    SyntaxError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)


def read(path: Path, options: ImageOptions = AS_THEY_ARE) -> Stored:
    """Read the file or folder at `path` by the reader for its ending.

    Args:
        path: See above.
        options: Options for reading images.

    Raises:
        InputError: If the file cannot be read; the message states the reason.
    """
    ending = path.suffix.lower()
    check(path.exists(), f"Expected a file or folder at {path}; there is none.")
    if not path.is_dir() and ending not in READERS:
        expected = f"Expected a folder of images or a file ending in {', '.join(READERS)}"
        raise InputError(f"{expected}; got {path}. {ending_hint(path)}".rstrip())
    check(path.is_dir() or path.stat().st_size > 0, f"Expected data in {path}; the file is empty (0 bytes).")
    try:
        return read_image_folder(path, options) if path.is_dir() else _read_file(path, options)
    except OSError as error:
        raise InputError(f"Could not read {path}: {error.strerror or error}.") from error


def _read_file(path: Path, options: ImageOptions) -> Stored:
    options.check_no_folder_options(path)
    stored = READERS[path.suffix.lower()](path)
    return stored if options.packed_bits is None else unpacked(stored, options)


def read_npy(path: Path) -> Stored:
    """Map a `.npy` array into memory."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except DAMAGED as error:
        raise _unreadable(path, error) from error
    if not isinstance(array, np.ndarray):
        array.close()
        raise InputError(f"Expected a single array in {path}; got an archive of arrays. Name it .npz.")
    return stored_rows(path, array)


def read_npz(path: Path) -> Stored:
    """Load the arrays of a `.npz` archive, with its splits, labels and class names if present."""
    try:
        with path.open("rb") as file:  # np.load leaves a damaged file open
            archive = np.load(file, allow_pickle=False)
            arrays = {} if isinstance(archive, np.ndarray) else dict(archive)
    except DAMAGED as error:
        raise _unreadable(path, error) from error
    return read_arrays(path, arrays)


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
