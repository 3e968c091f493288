"""Headers of image files, and the common mode and size in which all of them are read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pyro_vae._checks import InputError, check
from pyro_vae.data.image_options import ImageOptions
from pyro_vae.data.stored import listed

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["DEEP", "Header", "common_mode", "common_size", "read_header"]

ORIENTATION = 0x0112
SIDEWAYS = (5, 6, 7, 8)
"""EXIF orientations that swap width and height."""
GREY = ("1", "L", "LA", "La")
DEEP = {"I;16": "16-bit grey", "I": "32-bit grey", "F": "floating-point grey"}
"""Modes of grey images with more than 8 bits a pixel."""


@dataclass(frozen=True)
class Header:
    """The header of an image file: size, mode and orientation.

    Attributes:
        file: The file.
        height: Height in pixels, after rotation by the EXIF orientation.
        width: Width in pixels, likewise.
        mode: Mode of Pillow; 16-bit grey of any byte order is "I;16".
        transparent: Whether it has an alpha channel, or a transparent colour.
        turned: Whether its EXIF orientation is not upright.
        frames: Number of frames.
    """

    file: Path
    height: int
    width: int
    mode: str
    transparent: bool
    turned: bool
    frames: int

    @property
    def grey(self) -> bool:
        """Whether it has no colours."""
        return self.mode in GREY or self.mode in DEEP


def read_header(file: Path) -> Header:
    """Return the header of an image file.

    Raises:
        OSError: If it cannot be read; Pillow may also raise SyntaxError or ValueError.
    """
    from PIL import Image

    with Image.open(file) as image:
        # Pillow would decode the whole PNG file to look for EXIF data after the pixels, where it is rarely stored.
        has_exif = image.format != "PNG" or "exif" in image.info
        orientation = image.getexif().get(ORIENTATION, 1) if has_exif else 1
        width, height = image.size
        height, width = (width, height) if orientation in SIDEWAYS else (height, width)
        mode = "I;16" if image.mode.startswith("I;16") else image.mode
        turned, frames = orientation not in (0, 1), int(getattr(image, "n_frames", 1))
        return Header(file, height, width, mode, is_transparent(image), turned, frames)


def is_transparent(image: Image.Image) -> bool:
    """Return whether an image has an alpha channel, or a transparent colour."""
    alpha = image.mode in ("RGBA", "LA", "PA", "RGBa", "La")
    return alpha or (image.mode in ("1", "L", "P", "RGB") and "transparency" in image.info)


def common_mode(headers: Sequence[Header], options: ImageOptions) -> str:
    """Return the mode that all images are read in: L, RGB, I;16, I or F.

    Raises:
        InputError: If 8-bit images are mixed with images of more bits.
    """
    deep = {header.mode for header in headers if header.mode in DEEP}
    if options.colours == "grey" and deep <= {"I;16"} and not all(header.mode in deep for header in headers):
        return "L"
    if not deep:
        grey = options.colours == "grey" or all(header.grey for header in headers)
        return "L" if grey and options.colours != "rgb" else "RGB"
    if len(deep) == 1 and all(header.mode in deep for header in headers) and options.colours != "rgb":
        return deep.pop()
    way = "Pass --grey to reduce all to 8-bit grey." if deep == {"I;16"} else "Convert them first."
    raise InputError(f"Expected all images of one kind; got {_kinds(headers)}. {way}")


def common_size(headers: Sequence[Header], options: ImageOptions) -> tuple[int, int]:
    """Return height and width that all images have after cropping and resizing.

    Raises:
        InputError: If they differ, or an image is too small to be cropped.
    """
    sizes = {options.final(header.height, header.width) for header in headers}
    check(
        len(sizes) == 1,
        f"Expected all images of one size; got {_kinds(headers)}. Resize them, as --image-size HEIGHT WIDTH does"
        f"{'' if options.crop != 'none' else ', with --crop center to keep their proportions'}.",
    )
    return sizes.pop()


def _kinds(headers: Sequence[Header]) -> str:
    """Return the number of images of each height, width and mode, with an example of each."""
    counts = Counter((header.height, header.width, header.mode) for header in headers)
    examples = {(header.height, header.width, header.mode): header.file for header in reversed(headers)}
    return listed(
        (
            f"{n} of {h} x {w} {mode} (such as {examples[h, w, mode]})"
            for (h, w, mode), n in counts.most_common()
        ),
        4,
    )
