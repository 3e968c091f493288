"""CelebA (Liu, Luo, Wang & Tang 2015): 202599 aligned colour photographs of faces, in torchvision's layout.

    ROOT/celeba/img_align_celeba/000001.jpg, ...     178 x 218 pixels
    ROOT/celeba/list_eval_partition.txt              lines such as "000001.jpg 0": 0 train, 1 validation, 2 test

The central 148 x 148 pixels are resized, by default to 64 x 64. Without the list of official splits, a tenth of the
images each is drawn for test and for validation. All images of 64 x 64 take 2.5 GB of memory.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pyro_vae._checks import InputError, check
from pyro_vae.data.downloads import download
from pyro_vae.data.image_options import ImageOptions
from pyro_vae.data.pixels import read_images
from pyro_vae.data.stored import Stored, listed

__all__ = ["read_celeba"]

SIDE, SIZE = 148, (64, 64)
"""Side of the central crop, and size after resizing, as in Tolstikhin et al. (2018)."""
SPLITS = ("train", "validation", "test")


def read_celeba(root: Path, options: ImageOptions) -> Stored:
    """Read CelebA from the data folder; download it if it is missing.

    Args:
        root: The data folder.
        options: Image size and colours, if other than the defaults.

    Raises:
        InputError: If it is missing and cannot be downloaded, a file is damaged, or an option does not apply.
    """
    check(
        options.crop == "none",
        f"Expected no --crop with celeba, of which the central {SIDE} x {SIDE} pixels are used; got {options.crop}. "
        "Leave it out.",
    )
    options = ImageOptions(options.size or SIZE, SIDE, "grey" if options.colours == "grey" else "rgb")
    folder = root / "celeba" / "img_align_celeba"
    if not (files := sorted(folder.glob("*.jpg"))):
        _download(root, folder)
        files = sorted(folder.glob("*.jpg"))
    check(len(files) > 0, f"Expected images (.jpg) in {folder}; got none.")
    splits, notes = _official_splits(root / "celeba" / "list_eval_partition.txt", files)
    files = [file for file in files if not splits or file.name in splits]
    images, numbers, more = read_images(files, options, folder)
    places = np.array([splits.get(files[number].name, 0) for number in numbers])
    given = {name: np.flatnonzero(places == place) for place, name in enumerate(SPLITS)} if splits else {}
    return Stored("celeba", images, given=given, notes=(*notes, *more), image_options=options)


def _official_splits(path: Path, files: list[Path]) -> tuple[dict[str, int], list[str]]:
    """Return the split of each image by the name of its file, empty without a list, and notes."""
    if not path.is_file():
        return {}, [f"The official splits were not found ({path}): test and validation images were drawn."]
    try:
        splits = {name: int(place) for name, place in map(str.split, path.read_text("utf-8").splitlines())}
    except (OSError, ValueError) as error:
        raise InputError(
            f'Expected lines such as "000001.jpg 0" in {path}; got other text ({error}). Fetch it again.'
        ) from error
    check(
        set(splits.values()) <= {0, 1, 2},
        f"Expected 0 (train), 1 (validation) or 2 (test) for each image in {path}; got "
        f"{listed(sorted(set(splits.values())))}. Fetch it again.",
    )
    names = {file.name for file in files}
    absent, unlisted = len(splits.keys() - names), len(names - splits.keys())
    sentences = {
        f"{absent} of the {len(splits)} images that {path.name} lists are not there.": absent,
        f"{unlisted} images are not listed in {path.name} and were not used.": unlisted,
    }
    return splits, [sentence for sentence, holds in sentences.items() if holds]


def _download(root: Path, folder: Path) -> None:
    archive = folder.with_suffix(".zip")
    check(
        not archive.is_file(),
        f"Expected images in {folder}; got {archive} alone. Unpack it there: unzip {archive}.",
    )
    download(
        "celeba",
        lambda datasets: datasets.CelebA(str(root), download=True),
        f"Otherwise place the images 000001.jpg, ... in {folder}, and list_eval_partition.txt beside that folder.",
    )
