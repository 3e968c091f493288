"""Image files to one array: sizes, modes, orientation and frames.

| mode | rows |
| --- | --- |
| 1 (black and white) | 0 and 1; among grey images 0 and 255 |
| grey of 8, 16 or 32 bits | as stored, unsigned 8 or 16 bits, int32 or float32 |
| RGB, palette | RGB |
| RGBA, palette with transparency | RGBA |
| others (CMYK, grey with transparency, ...) | refused |

Images are turned as their EXIF orientation says, and of several frames the first is read; notes say so.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pyro_vae._checks import InputError
from pyro_vae.data.stored import listed

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["read_images"]

AS_STORED = ("L", "RGB", "RGBA", "I;16", "I;16B", "I;16L", "I;16N", "I", "F")
WAYS = {
    "LA": "Drop or apply its transparency first: image.convert('L').",
    "La": "Drop or apply its transparency first: image.convert('L').",
    "PA": "Drop or apply its transparency first: image.convert('RGB').",
}
ORIENTATION = 0x0112


class _Read(NamedTuple):
    pixels: NDArray
    kind: str
    turned: bool
    frames: int


def read_images(files: Sequence[Path]) -> tuple[NDArray, list[str]]:
    """Return all images in one array (N, H, W) or (N, C, H, W), and notes on what was decided.

    Raises:
        InputError: At a file that cannot be read, a mode that is not, and images of different sizes or modes.
    """
    first = _read(files[0])
    images = np.empty((len(files), *first.pixels.shape), first.pixels.dtype)
    kinds: Counter[str] = Counter()
    turned: list[Path] = []
    cut: list[Path] = []
    for image, file in zip(images, files, strict=True):
        read = _read(file)
        if read.pixels.shape != first.pixels.shape or read.pixels.dtype != first.pixels.dtype:
            raise InputError(_different(files))
        image[:] = read.pixels
        kinds[read.kind] += 1
        turned += [file] * read.turned
        cut += [file] * (read.frames > 1)
    if set(kinds) == {"1"}:
        images //= 255
    return images, _notes(kinds, turned, cut)


def _notes(kinds: Counter[str], turned: Sequence[Path], cut: Sequence[Path]) -> list[str]:
    told = {
        "Black-and-white images are zeros and ones.": set(kinds) == {"1"},
        f"{kinds['1']} black-and-white images became grey, 0 and 255, as the others are.": "1" in kinds
        and len(kinds) > 1,
        f"{kinds['P']} images with a palette became RGB.": kinds["P"],
        f"{kinds['P, transparent']} images with a palette and transparency became RGBA.": kinds[
            "P, transparent"
        ],
        f"{len(turned)} images were turned as their EXIF orientation says: {_named(turned)}.": turned,
        f"{len(cut)} files hold several frames, of which the first was used: {_named(cut)}.": cut,
    }
    return [sentence for sentence, holds in told.items() if holds]


def _named(files: Sequence[Path]) -> str:
    return listed((file.name for file in files), 3)


def _read(file: Path) -> _Read:
    from PIL import Image, ImageOps

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about metadata; the pixels are what is read
            with Image.open(file) as image:
                kind, mode = _mode(image, file)
                turned = image.getexif().get(ORIENTATION, 1) not in (0, 1)
                frames = int(getattr(image, "n_frames", 1))
                upright = ImageOps.exif_transpose(image) if turned else image
                pixels = np.asarray(upright if upright.mode == mode else upright.convert(mode))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"Could not read the image {file}: {' '.join(str(error).split())}.") from error
    pixels = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
    return _Read(pixels if pixels.ndim == 2 else pixels.transpose(2, 0, 1), kind, turned, frames)


def _mode(image: Image.Image, file: Path) -> tuple[str, str]:
    """Return the kind of an image and the mode that it is read in."""
    if image.mode == "1":
        return "1", "L"
    if image.mode == "P":
        return ("P, transparent", "RGBA") if "transparency" in image.info else ("P", "RGB")
    if image.mode in AS_STORED:
        return image.mode, image.mode
    way = WAYS.get(image.mode, "Convert it: image.convert('RGB').")
    raise InputError(
        f"Expected black-and-white, grey, RGB or RGBA images; got mode {image.mode} in {file}. {way}"
    )


def _different(files: Sequence[Path]) -> str:
    """Return how many images there are of which size and mode, and one of each."""
    from PIL import Image

    seen: dict[tuple[int, int, str], list[Path]] = {}
    for file in files:
        try:
            with Image.open(file) as image:
                seen.setdefault((*image.size, image.mode), []).append(file)
        except OSError:
            continue
    common = sorted(seen.items(), key=lambda item: -len(item[1]))
    told = (f"{len(found)} of {w} x {h} {mode} (such as {found[0]})" for (w, h, mode), found in common)
    return f"Expected all images of one size and mode; got {listed(told, 4)}. Resize, turn or convert them first."
