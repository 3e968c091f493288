"""CIFAR-10 (Krizhevsky 2009): 60000 colour images of 32 x 32 pixels in ten classes.

    ROOT/cifar-10-batches-bin/data_batch_{1,...,5}.bin, test_batch.bin     the binary version, preferred
    ROOT/cifar-10-batches-py/data_batch_{1,...,5}, test_batch              the Python version, torchvision's layout

An image of the binary version is one byte for its class and 3072 bytes for its pixels: channel, line, column. The
Python version is pickled; the unpickler used here only creates arrays and plain values, so that no file can run code.
If neither version is present, the binary version is downloaded.
"""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyro_vae._checks import InputError, check
from pyro_vae.data.downloads import download
from pyro_vae.data.stored import Stored, ranges

__all__ = ["read_cifar10"]

SHAPE = (3, 32, 32)
PIXELS = 3072
TRAIN = tuple(f"data_batch_{number}" for number in range(1, 6))
CLASSES = "airplane,automobile,bird,cat,deer,dog,frog,horse,ship,truck"
URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
MD5 = "c32a1d4ab5d03f1284b67883e8d87530"
"""As given at https://www.cs.toronto.edu/~kriz/cifar.html."""
SAFE = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("numpy.core.multiarray", "_reconstruct"): np.ndarray.__reduce__(np.empty(0))[0],
    ("numpy._core.multiarray", "_reconstruct"): np.ndarray.__reduce__(np.empty(0))[0],
}
"""The only names that a pickled batch may load, and their objects."""


def read_cifar10(root: Path) -> Stored:
    """Read CIFAR-10 from the data folder; download it if it is missing.

    Args:
        root: The data folder.

    Raises:
        InputError: If it is missing and cannot be downloaded, or a file is damaged.
    """
    batches = {name: _read(root, name) for name in (*TRAIN, "test_batch")}
    sizes = [len(labels) for _, labels in batches.values()]
    check(
        len(set(sizes)) == 1,
        f"Expected {len(batches)} files of CIFAR-10 in {root} with as many images each; got {sizes}. Fetch them again.",
    )
    images, labels = (np.concatenate(parts) for parts in zip(*batches.values(), strict=True))
    return Stored(
        "cifar-10",
        images.reshape(-1, *SHAPE),
        labels.astype(np.int64),
        ranges({"train": labels[: -sizes[-1]], "test": labels[-sizes[-1] :]}),
        tuple(CLASSES.split(",")),
        drawn={"validation": 5000},
    )


def _read(root: Path, name: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return the pixels (n, 3072) and classes (n,) of a batch."""
    binary, pickled = root / "cifar-10-batches-bin" / f"{name}.bin", root / "cifar-10-batches-py" / name
    if not binary.is_file() and not pickled.is_file():
        _download(root)
    path, read = (binary, _read_binary) if binary.is_file() else (pickled, _read_pickled)
    try:
        images, labels = read(path.read_bytes(), path)
    except OSError as error:
        raise InputError(f"Could not read {path}: {error.strerror or error}.") from error
    check(
        labels.max(initial=0) < 10,
        f"Expected classes from 0 to 9 in {path}; got {labels.max(initial=0)}. Fetch the file again.",
    )
    return images, labels


def _read_binary(content: bytes, path: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    check(
        len(content) > 0 and len(content) % (1 + PIXELS) == 0,
        f"Expected {1 + PIXELS} bytes for each image in {path}; got {len(content)} bytes, which is not a multiple. The "
        "file is truncated or of another format: fetch it again.",
    )
    rows = np.frombuffer(content, np.uint8).reshape(-1, 1 + PIXELS)
    return rows[:, 1:], rows[:, 0]


def _read_pickled(content: bytes, path: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    try:
        values = _SafeUnpickler(io.BytesIO(content), encoding="bytes").load()
        images, labels = np.asarray(values[b"data"]), np.asarray(values[b"labels"])
    except InputError:
        raise
    except Exception as error:  # on damaged bytes the unpickler raises many types of exceptions
        raise InputError(
            f"Could not read {path} as a batch of CIFAR-10 ({error}). Fetch it again."
        ) from error
    check(
        images.dtype == np.uint8 and images.shape == (len(labels), PIXELS) and labels.dtype.kind in "iu",
        f"Expected {PIXELS} bytes and a class for each image in {path}; got {images.shape}, {images.dtype}, and "
        f"{len(labels)} classes. Fetch it again.",
    )
    return images, labels.clip(0, 255).astype(np.uint8)


class _SafeUnpickler(pickle.Unpickler):
    """Unpickler that only loads arrays, dictionaries, lists, numbers and strings."""

    def find_class(self, module: str, name: str) -> Any:
        """Return the object of an allowed name; raise `InputError` for others."""
        if (module, name) not in SAFE:
            raise InputError(
                f"Expected arrays in a batch of CIFAR-10; it names {module}.{name}, which is not loaded because it "
                "could run code. Fetch the file again."
            )
        return SAFE[module, name]


def _download(root: Path) -> None:
    subset = root / "cifar10" / "cifar10_subset.npz"
    files = "data_batch_1.bin, ..., data_batch_5.bin and test_batch.bin"
    places = f"Otherwise place {files} in {root / 'cifar-10-batches-bin'}."
    if subset.is_file():
        places += f" A subset is there: give its path, --dataset {subset}."
    download(
        "cifar-10",
        lambda datasets: datasets.utils.download_and_extract_archive(URL, str(root), md5=MD5),
        places,
    )
