"""Folders of images.

    folder/*.png                          images without labels
    folder/CLASS/*.png                    sub-folders are classes
    folder/train/..., folder/test/...     own splits (also validation, valid or val), each laid out as above

Names of splits are case-insensitive. Files are read in the order of their names. Files without the ending of an image
are not used, and a note lists them. `pyro_vae.data.pixels` describes the treatment of sizes, modes and unreadable
files.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pyro_vae._checks import check
from pyro_vae.data.archives import SPLITS, unused_note
from pyro_vae.data.image_options import AS_THEY_ARE, ImageOptions
from pyro_vae.data.pixels import read_images
from pyro_vae.data.stored import Stored, listed

__all__ = ["read_image_folder"]

ENDINGS = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
NOT_CLASSES = ("train", "training", "test", "testing", "validation", "valid", "val", "dev", "eval")


def read_image_folder(folder: Path, options: ImageOptions = AS_THEY_ARE) -> Stored:
    """Read all images of a folder into one array (N, H, W) or (N, C, H, W).

    Args:
        folder: See above.
        options: Size, crop and colours.

    Raises:
        InputError: If it is ambiguous which folders are splits or classes, images do not match, or too many cannot be
            read.
    """
    options.check_no_packed_bits(f"the folder {folder}")
    places = _split_folders(folder)
    files: list[tuple[Path, bool]] = []
    starts: dict[str, int] = {}
    for name, place in places.items():
        found = _files(place)
        check(len(found) > 0, f"Expected images ({', '.join(ENDINGS)}) in {place}; got none.")
        starts[name] = len(files)
        files += found
    class_names = tuple(sorted({file.parent.name for file, classed in files if classed}))
    check(
        not class_names or all(classed for _, classed in files),
        f"Expected the images of {folder} either all in sub-folders, one a class, or none; got both.",
    )
    images, numbers, notes = read_images([file for file, _ in files], options, folder)
    given = _given(starts, np.array(numbers))
    notes += _unused(folder, places, {file for file, _ in files})
    kept = [files[number] for number in numbers]
    codes = {name: code for code, name in enumerate(class_names)}
    labels = np.array([codes[file.parent.name] for file, _ in kept]) if class_names else None
    notes += _absent(places, given, kept)
    names = class_names or None
    return Stored(str(folder), images, labels, given, names, notes=tuple(notes), image_options=options)


def _given(starts: dict[str, int], numbers: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
    """Return the rows of each split, from its first index among all files and the indices of the files read."""
    split = np.searchsorted(list(starts.values()), numbers, side="right") - 1
    return {name: np.flatnonzero(split == place) for place, name in enumerate(starts)}


def _split_folders(folder: Path) -> dict[str, Path]:
    """Return the folder of each split; {"train": folder} if there are no splits."""
    own: dict[str, Path] = {}
    for place in _folders(folder):
        name = next((split for split, names in SPLITS.items() if place.name.lower() in names), None)
        if name is not None:
            check(
                name not in own,
                f"Expected one folder for each split in {folder}; got {own.get(name, place).name} and {place.name}. "
                "Remove or rename one.",
            )
            own[name] = place
    if "train" in own:
        check(
            not _images(folder),
            f"Expected the images of {folder} either all in its splits ({listed(own)}) or none; got both.",
        )
        return {name: own[name] for name in SPLITS if name in own}
    near = [place.name for place in _folders(folder) if place.name.lower() in NOT_CLASSES]
    check(
        not near,
        f"Expected folders of splits in {folder} to be named train, validation and test, with train at least; got "
        f"{listed(near)}. Rename them, or, if they are classes, give them other names.",
    )
    return {"train": folder}


def _folders(folder: Path) -> list[Path]:
    return sorted(place for place in folder.iterdir() if place.is_dir() and not place.name.startswith("."))


def _files(folder: Path) -> list[tuple[Path, bool]]:
    """Return the image files, each with whether it lies in a sub-folder of its class."""
    return [(file, False) for file in _images(folder)] + [
        (file, True) for place in _folders(folder) for file in _images(place)
    ]


def _images(folder: Path) -> list[Path]:
    return sorted(
        file
        for file in folder.iterdir()
        if file.suffix.lower() in ENDINGS and not file.name.startswith(".") and file.is_file()
    )


def _unused(folder: Path, places: dict[str, Path], used: set[Path]) -> list[str]:
    """Return notes on folders and files that are not used."""
    places_used = set(places.values()) - {folder}
    beside = [place for place in _folders(folder) if places_used and place not in places_used]
    notes = [unused_note("Folders", [place.name for place in beside], str(folder))] if beside else []
    files = [file for file in sorted(folder.rglob("*")) if file.is_file() and file not in used]
    files = [file for file in files if not any(place in file.parents for place in beside)]
    deep = [file for file in files if file.suffix.lower() in ENDINGS and not file.name.startswith(".")]
    other = [str(file.relative_to(folder)) for file in files if file not in set(deep)]
    if deep:
        names = [str(file.relative_to(folder)) for file in deep]
        notes.append(f"{len(deep)} images lie too deep in sub-folders and were not used: {listed(names, 3)}.")
    if other:
        notes.append(f"{len(other)} files are hidden or not images and were not used: {listed(other, 3)}.")
    return notes


def _absent(
    places: dict[str, Path], given: dict[str, NDArray[np.int64]], files: list[tuple[Path, bool]]
) -> list[str]:
    """Return notes on classes that a split lacks, and on class folders without images."""
    seen = {
        name: {files[row][0].parent.name for row in rows if files[row][1]} for name, rows in given.items()
    }
    everywhere = set().union(*seen.values())
    notes = [
        f"The {name} split has no images of the classes {listed(sorted(everywhere - classes))}."
        for name, classes in seen.items()
        if everywhere - classes
    ]
    named = {folder.name for place in places.values() for folder in _folders(place)} if everywhere else set()
    empty = sorted(named - everywhere)
    return notes + [f"Folders without images directly inside are not classes: {listed(empty)}."] * bool(empty)
