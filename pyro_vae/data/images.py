"""Folders of images.

    folder/*.png                          images without labels
    folder/CLASS/*.png                    sub-folders are classes
    folder/train/..., folder/test/...     own splits (also validation, valid or val), each laid out as above

Files are taken in the order of their names; what has no image's ending is passed over. All images have one
size and mode: grey, RGB or RGBA; black-and-white files become grey, palettes RGB. Rows are uint8, channels
first.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pyro_vae._checks import InputError, check
from pyro_vae.data.stored import Stored

__all__ = ["read_image_folder"]

ENDINGS = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
MODES = {"1": "L", "L": "L", "P": "RGB", "RGB": "RGB", "RGBA": "RGBA"}
SPLITS = {
    "train": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "test": "test",
}


def read_image_folder(folder: Path) -> Stored:
    """Read all images of a folder into one uint8 array (N, H, W) or (N, C, H, W)."""
    own = {name: folder / name for name in SPLITS if (folder / name).is_dir()} if _has_train(folder) else {}
    files: list[tuple[Path, bool]] = []
    given: dict[str, NDArray[np.int64]] = {}
    for name, place in (own or {"train": folder}).items():
        found = _files(place)
        check(len(found) > 0, f"Expected images ({', '.join(ENDINGS)}) in {place}; got none.")
        given[SPLITS[name]] = np.arange(len(files), len(files) + len(found))
        files += found
    class_names = tuple(sorted({file.parent.name for file, classed in files if classed}))
    check(
        not class_names or all(classed for _, classed in files),
        f"Expected the images of {folder} either all in sub-folders, one a class, or none; got both.",
    )
    codes = {name: code for code, name in enumerate(class_names)}
    labels = np.array([codes[file.parent.name] for file, _ in files]) if class_names else None
    return Stored(str(folder), _stack([file for file, _ in files]), labels, given, class_names or None)


def _has_train(folder: Path) -> bool:
    return (folder / "train").is_dir() and not any(_images(folder))


def _files(folder: Path) -> list[tuple[Path, bool]]:
    """Return the image files, each with whether it lies in a sub-folder of its class."""
    classes = sorted(place for place in folder.iterdir() if place.is_dir() and not place.name.startswith("."))
    return [(file, False) for file in _images(folder)] + [
        (f, True) for place in classes for f in _images(place)
    ]


def _images(folder: Path) -> list[Path]:
    return sorted(
        file
        for file in folder.iterdir()
        if file.suffix.lower() in ENDINGS and not file.name.startswith(".") and file.is_file()
    )


def _stack(files: list[Path]) -> NDArray[np.uint8]:
    first = _pixels(files[0])
    images = np.empty((len(files), *first.shape), np.uint8)
    for image, file in zip(images, files, strict=True):
        pixels = _pixels(file)
        check(
            pixels.shape == first.shape,
            f"Expected all images of one size and mode, {first.shape} as {files[0]} has; "
            f"got {pixels.shape} in {file}.",
        )
        image[:] = pixels
    return images


def _pixels(file: Path) -> NDArray[np.uint8]:
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about metadata; the pixels are what is read
            with Image.open(file) as image:
                mode = MODES.get(image.mode)
                pixels = np.asarray(image.convert(mode)) if mode else None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"Could not read the image {file}: {' '.join(str(error).split())}.") from error
    if pixels is None:
        raise InputError(f"Expected grey, RGB or RGBA images; got mode {image.mode} in {file}. Convert it.")
    return pixels if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
