"""The named data sets, and their files in the data folder ROOT.

| name | files |
| --- | --- |
| `digits` | none: part of scikit-learn |
| `mnist` | `ROOT/MNIST/raw/{train-images-idx3,train-labels-idx1,t10k-images-idx3,t10k-labels-idx1}-ubyte` |
| | (plain or `.gz`; torchvision's layout); downloaded there by torchvision if they are missing |
| `fashion-mnist` | the same four under `ROOT/FashionMNIST/raw/` |
| `binarized-mnist` | `ROOT/binarized-mnist/binarized_mnist.npz` (arrays `train`, `valid`, `test`, uint8 of |
| | shape (N, 98), eight pixels to a byte), or the three text files |
| | `binarized_mnist_{train,valid,test}.amat`, there or in ROOT itself |
| `frey-face` | `ROOT/frey-face/frey_rawface.mat` or `ROOT/frey_rawface.mat` (MATLAB; `ff` of shape |
| | (560, N), one frame of 28 x 20 per column) |
| `cifar-10` | `ROOT/cifar-10-batches-bin/` or `ROOT/cifar-10-batches-py/`: see `pyro_vae.data.cifar` |
| `celeba` | `ROOT/celeba/`: see `pyro_vae.data.celeba` |

ROOT is the argument `data_root`, else the environment variable `PYRO_VAE_DATA`, else `./data`.
"""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pyro_vae._checks import InputError, check
from pyro_vae.data.celeba import read_celeba
from pyro_vae.data.cifar import read_cifar10
from pyro_vae.data.downloads import download
from pyro_vae.data.image_options import AS_THEY_ARE, ImageOptions
from pyro_vae.data.readers import read
from pyro_vae.data.stored import Stored, ranges

__all__ = ["DATASETS", "read_named"]

DATASETS = {
    "digits": "8 x 8 digits, 17 grey levels, 1797 images, embedded in scikit-learn",
    "mnist": "28 x 28 handwritten digits, 256 grey levels, 60000 + 10000 images",
    "fashion-mnist": "28 x 28 pieces of clothing, 256 grey levels, 60000 + 10000 images",
    "binarized-mnist": "Larochelle's static binarization of MNIST, 50000 + 10000 + 10000 images",
    "frey-face": "28 x 20 frames of a video of one face, 256 grey levels, 1965 images",
    "cifar-10": "32 x 32 colour photographs of ten classes, 50000 + 10000 images",
    "celeba": "colour photographs of faces, resized to 64 x 64, 162770 + 19867 + 19962 images",
}
"""Data sets by the name that `--dataset` and `load_dataset` take, each with its content."""
TORCHVISION = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST"}
IDX_FILES = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
CLOTHING = "T-shirt/top,Trouser,Pullover,Dress,Coat,Sandal,Shirt,Sneaker,Bag,Ankle boot"
AMAT_SPLITS = {"train": "train", "validation": "valid", "test": "test"}
LAROCHELLE = "static binarization (Larochelle)"
VIDEO = "Frames of one video are split at random, so a test frame has near neighbours in training."
CLASS_NAMES = {"mnist": tuple("0123456789"), "fashion-mnist": tuple(CLOTHING.split(","))}


def read_named(name: str, root: Path, options: ImageOptions = AS_THEY_ARE) -> Stored:
    """Read a data set.

    Args:
        name: A name of `DATASETS`.
        root: The data folder.
        options: Size and colours for `celeba`.

    Raises:
        InputError: If a file is missing or damaged, or an option does not apply.
        MissingPackageError: If a download needs torchvision and it does not work.
    """
    options.check_no_packed_bits(f"the data set {name}")
    if name == "celeba":
        return read_celeba(root, options)
    options.check_no_folder_options(name)
    if name == "cifar-10":
        return read_cifar10(root)
    if name == "digits":
        return _digits()
    if name == "binarized-mnist":
        return _binarized_mnist(root)
    return _frey_face(root) if name == "frey-face" else _idx_set(name, root)


def _digits() -> Stored:
    from sklearn.datasets import load_digits

    digits = load_digits()
    return Stored(
        "digits",
        digits.images.astype(np.uint8),
        digits.target.astype(np.int64),
        class_names=tuple("0123456789"),
        levels=17,
        drawn={"test": 250, "validation": 250},
    )


def _idx_set(name: str, root: Path) -> Stored:
    folder = root / TORCHVISION[name] / "raw"
    if not all(_plain_or_gz(folder, file) for file in IDX_FILES):
        _download(name, root, folder)
    train, train_labels, test, test_labels = (_idx(_plain_or_gz(folder, file)) for file in IDX_FILES)
    check(
        train.shape[1:] == test.shape[1:] == (28, 28),
        f"Expected images of 28 x 28 in {folder}; got {train.shape[1:]} and {test.shape[1:]}.",
    )
    return Stored(
        name,
        np.concatenate([train, test]),
        np.concatenate([train_labels, test_labels]).astype(np.int64),
        ranges({"train": train, "test": test}),
        CLASS_NAMES[name],
        drawn={"validation": 5000},
    )


def _plain_or_gz(folder: Path, file: str) -> Path | None:
    candidates = (folder / f"{file}-ubyte", folder / f"{file}-ubyte.gz")
    return next((path for path in candidates if path.is_file()), None)


def _idx(path: Path | None) -> NDArray[np.uint8]:
    """Read LeCun's idx format: two zero bytes, a type, the number of axes, big-endian sizes, the entries."""
    assert path is not None
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"Could not read {path}: {error}. Fetch it again.") from error
    check(
        data[:3] == b"\0\0\x08" and len(data) >= 4 + 4 * data[3],
        f"Expected {path} to be an idx file of bytes; it begins with {data[:4].hex(' ') or 'nothing'}. "
        "Fetch it again.",
    )
    shape = tuple(np.frombuffer(data, ">u4", data[3], 4).tolist())
    body = np.frombuffer(data, np.uint8, offset=4 + 4 * len(shape))
    check(
        len(body) == math.prod(shape),
        f"Expected {math.prod(shape)} entries of shape {shape} in {path}; got {len(body)}. "
        "The file is truncated or of another format: fetch it again.",
    )
    return body.reshape(shape)


def _download(name: str, root: Path, folder: Path) -> None:
    """Download the four files with torchvision, whose layout is the one that is read here."""
    download(
        name,
        lambda datasets: getattr(datasets, TORCHVISION[name])(root, download=True),
        f"Otherwise place {', '.join(f'{file}-ubyte' for file in IDX_FILES)} (or .gz) in {folder}.",
    )


def _binarized_mnist(root: Path) -> Stored:
    folder = root / "binarized-mnist"
    packed = folder / "binarized_mnist.npz"
    texts = {name: f"binarized_mnist_{short}.amat" for name, short in AMAT_SPLITS.items()}
    place = next((p for p in (folder, root) if all((p / text).is_file() for text in texts.values())), None)
    if packed.is_file():
        stored = read(packed)
        _check_width(stored.array, 98, packed)
        rows, given = np.unpackbits(stored.array.astype(np.uint8), axis=1), stored.given
    elif place is not None:
        parts = {name: _zeros_and_ones(place / text) for name, text in texts.items()}
        rows, given = np.concatenate(list(parts.values())), ranges(parts)
    else:
        raise InputError(
            f"Expected {packed}, or {', '.join(texts.values())} in {folder} or {root}; found neither. "
            "Set --data-root or PYRO_VAE_DATA to the folder that holds them."
        )
    return Stored("binarized-mnist", rows.reshape(-1, 28, 28), given=given, description=LAROCHELLE)


def _zeros_and_ones(path: Path) -> NDArray[np.uint8]:
    table = read(path).array
    _check_width(table, 784, path)
    check(bool(((table == 0) | (table == 1)).all()), f"Expected zeros and ones in {path}; got other values.")
    return table.astype(np.uint8)


def _check_width(table: NDArray, width: int, path: Path) -> None:
    check(table.shape[1:] == (width,), f"Expected rows of {width} values in {path}; got shape {table.shape}.")


def _frey_face(root: Path) -> Stored:
    from scipy.io import loadmat

    places = (root / "frey-face" / "frey_rawface.mat", root / "frey_rawface.mat")
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        raise InputError(
            f"Expected {places[0]} or {places[1]}; found neither. "
            "Set --data-root or PYRO_VAE_DATA to the folder that holds it."
        )
    try:
        frames = np.asarray(loadmat(path)["ff"])
    except Exception as error:  # scipy raises many types of exceptions on damaged files
        raise InputError(f"Could not read 'ff' from {path} ({error}). Fetch the file again.") from error
    check(
        frames.dtype == np.uint8 and frames.ndim == 2 and len(frames) == 560,
        f"Expected 'ff' of shape (560, N), uint8, in {path}; got {frames.shape}, {frames.dtype}.",
    )
    return Stored("frey-face", np.ascontiguousarray(frames.T).reshape(-1, 28, 20), notes=(VIDEO,))
