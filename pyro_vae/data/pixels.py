"""Image files to one array: sizes, modes, orientation and frames.

| images | rows |
| --- | --- |
| all black and white (mode 1), none resized | 0 and 1 |
| grey, black and white among them | 8 bits |
| all grey of 16 or 32 bits | as stored: unsigned 16 bits, int32 or float32 |
| RGB, palette, CMYK, YCbCr, HSV, and grey ones among them | RGB, 8 bits per channel |
| with transparency (RGBA, LA, PA, or a transparent colour) | composited on white, then as above |

Images are rotated by their EXIF orientation; only the first of several frames is read. With `ImageOptions` they
are then cropped, and resized by Pillow's bilinear filter, which averages over all pixels that a smaller one covers.
A file that cannot be read is left out; notes name such files and say what was decided.
"""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from pyro_vae._checks import InputError, check
from pyro_vae.data.image_headers import (
    DEEP,
    Header,
    common_mode,
    common_size,
    is_transparent,
    read_header,
)
from pyro_vae.data.image_options import ImageOptions
from pyro_vae.data.stored import listed
from pyro_vae.progress import progress_bar

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["read_images"]

MANY = 1000
"""Number of files from which reading shows a progress bar."""
MOST_BROKEN = 10
"""At most one in this many files may be unreadable."""
STORED_TYPES = {"L": np.uint8, "RGB": np.uint8, "I;16": np.uint16, "I": np.int32, "F": np.float32}
Result = TypeVar("Result")


def read_images(
    files: Sequence[Path], options: ImageOptions, folder: Path
) -> tuple[NDArray, list[int], list[str]]:
    """Read images into one array.

    Args:
        files: Image files in the order of the rows.
        options: Options for reading images.
        folder: Name in messages.

    Returns:
        The images (N, H, W) or (N, C, H, W), the indices of their files, and notes on the conversion.

    Raises:
        InputError: If more than one file in ten cannot be read, or images do not match.
    """
    broken = _Broken(files, folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about metadata; only the pixels are used
        found = _for_each(broken.noted(read_header), files, "files", folder)
        broken.check_few()
        headers = [header for header in found if header is not None]
        mode, size = common_mode(headers, options), common_size(headers, options)
        images = np.empty((len(headers), *([3] if mode == "RGB" else []), *size), STORED_TYPES[mode])

        def fill(file: Path) -> None:
            row = row_of[file]
            images[row] = _pixels(headers[row], mode, options, size)

        row_of = {header.file: row for row, header in enumerate(headers)}
        _for_each(broken.noted(fill), list(row_of), "images", folder)
        broken.check_few()
    kept = [row for file, row in row_of.items() if file not in broken.reasons]
    if len(kept) < len(images):
        headers, images = [headers[row] for row in kept], images[kept]
    resized = sum((header.height, header.width) != size for header in headers)
    if zeros_and_ones := not resized and {header.mode for header in headers} == {"1"}:
        images //= 255
    notes = [*broken.note(), *_notes(headers, mode, zeros_and_ones), *_size_note(resized, size, options)]
    return images, [number for number, file in enumerate(files) if file not in broken.reasons], notes


class _Broken:
    """The files that could not be read.

    Attributes:
        reasons: Reason by file.
    """

    def __init__(self, files: Sequence[Path], folder: Path) -> None:
        self.files, self.folder = files, folder
        self.reasons: dict[Path, str] = {}

    def noted(self, read: Callable[[Path], Result]) -> Callable[[Path], Result | None]:
        """Return a function that reads a file, or notes why it could not."""
        from PIL import Image

        def read_or_note(file: Path) -> Result | None:
            try:
                return read(file)
            except InputError:
                raise
            except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
                # Pillow includes the whole path in the reason.
                self.reasons[file] = " ".join(str(error).replace(str(file), "file").split())
                return None

        return read_or_note

    def check_few(self) -> None:
        """Raise `InputError` if more than one file in ten is broken."""
        check(
            len(self.reasons) * MOST_BROKEN <= len(self.files),
            f"Could not read {len(self.reasons)} of the {len(self.files)} images of {self.folder}: {self}. Fetch them "
            "again, or remove them.",
        )

    def note(self) -> list[str]:
        """Return a note if a file could not be read."""
        start = f"{len(self.reasons)} of {len(self.files)} images could not be read and were left out"
        return [f"{start}: {self}."] * bool(self.reasons)

    def __str__(self) -> str:
        return listed((f"{file} ({reason})" for file, reason in sorted(self.reasons.items())), 3)


def _for_each(
    action: Callable[[Path], Result], files: Sequence[Path], unit: str, folder: Path
) -> list[Result]:
    """Return the results of an action for each file, in threads: Pillow decodes without the interpreter's lock."""
    results: list[Result] = []
    with (
        ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool,
        progress_bar(
            len(files), unit, f"reading {folder.name}", shown=len(files) >= MANY, leave=False
        ) as bar,
    ):
        for result in pool.map(action, files):
            results.append(result)
            bar.update()
    return results


def _pixels(header: Header, mode: str, options: ImageOptions, size: tuple[int, ...]) -> NDArray:
    """Return the pixels of one image, (H, W) or (C, H, W)."""
    from PIL import Image, ImageOps

    with Image.open(header.file) as opened:
        if options.size and not isinstance(options.crop, int):
            # A JPEG file is decoded at the smallest of its scales that has twice the requested pixels.
            opened.draft(None, (2 * max(size), 2 * max(size)))
        if header.turned or opened.format == "PNG":  # PNG may store EXIF data after the pixels
            ImageOps.exif_transpose(opened, in_place=True)
        image = _in_mode(opened, mode)
        width, height = image.size
        kept_height, kept_width = options.cropped(height, width)
        left, top = (width - kept_width) // 2, (height - kept_height) // 2
        if (kept_height, kept_width) != (height, width):
            image = image.crop((left, top, left + kept_width, top + kept_height))
        if (kept_height, kept_width) != size:
            if options.size is None:
                raise ValueError("EXIF data after the pixels rotate it")
            image = image.resize((size[1], size[0]), Image.Resampling.BILINEAR)
        pixels = np.asarray(image)
    return pixels if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def _in_mode(image: Image.Image, mode: str) -> Image.Image:
    """Return an image in one of the modes L, RGB, I and F; 16-bit grey is held as I."""
    from PIL import Image

    if is_transparent(image):
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    if image.mode.startswith("I;16"):
        deep = np.asarray(image).astype(np.int32)
        return Image.fromarray(deep if mode == "I;16" else (deep >> 8).astype(np.uint8))
    return image if image.mode == mode else image.convert(mode)


def _notes(headers: Sequence[Header], mode: str, zeros_and_ones: bool) -> list[str]:
    """Return notes on modes, transparency, orientation and frames."""
    modes = Counter(header.mode for header in headers if not header.transparent)
    turned = [header.file for header in headers if header.turned]
    cut = [header.file for header in headers if header.frames > 1]
    clear = [header.file for header in headers if header.transparent]
    grey = sum(header.grey for header in headers)
    became = "RGB" if mode == "RGB" else "grey"
    others = {name: n for name, n in modes.items() if name not in ("1", "L", "RGB", "P", *DEEP)}
    sentences = {
        "Black-and-white images are zeros and ones.": zeros_and_ones,
        f"{modes['1']} black-and-white images became grey, 0 and 255.": modes["1"] and not zeros_and_ones,
        f"{modes['P']} images with a palette became {became}.": modes["P"],
        f"{listed(f'{n} images of mode {name}' for name, n in others.items())} became {became}.": others,
        f"{len(clear)} images with transparency were composited on white: {_named(clear)}.": clear,
        f"{grey} grey images became RGB.": grey and mode == "RGB",
        f"{len(headers) - grey} images with colours became grey.": grey < len(headers) and mode == "L",
        f"{modes['I;16']} 16-bit grey images were reduced to 8 bits.": modes["I;16"] and mode == "L",
        f"{len(turned)} images were rotated by their EXIF orientation: {_named(turned)}.": turned,
        f"{len(cut)} files hold several frames, of which the first was used: {_named(cut)}.": cut,
    }
    return [sentence for sentence, holds in sentences.items() if holds]


def _size_note(resized: int, size: tuple[int, int], options: ImageOptions) -> list[str]:
    return [f"{resized} images were {_cropped(options)}brought to {size[0]} x {size[1]} pixels."] * bool(
        resized
    )


def _cropped(options: ImageOptions) -> str:
    if options.crop == "none":
        return ""
    part = "central part" if options.crop == "center" else f"central {options.crop} x {options.crop} pixels"
    return f"cut to their {part} and "


def _named(files: Sequence[Path]) -> str:
    return listed((file.name for file in files), 3)
