"""Options for reading images: size, crop, colours, packed bits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pyro_vae._checks import InputError, check, check_choice
from pyro_vae.settings.checks import sides

__all__ = ["AS_THEY_ARE", "ImageOptions"]

Sides = int | Sequence[int] | None
"""One number for height and width alike, or both; None or an empty sequence if not given."""


@dataclass(frozen=True)
class ImageOptions:
    """Options for reading images; the defaults do not change them.

    Attributes:
        size: Height and width to which images of a folder are resized, or None.
        crop: Part of each image of a folder that is kept: all of it, the largest central part with the proportions of
            `size` (a square without `size`), or a central square with this number of pixels per side.
        colours: Colours of the images of a folder: "grey", "rgb", or "auto": RGB if any of them has colours, else grey.
        packed_bits: Height and width of binary images stored with eight pixels per byte, or None.
    """

    size: tuple[int, int] | None = None
    crop: int | Literal["none", "center"] = "none"
    colours: Literal["auto", "grey", "rgb"] = "auto"
    packed_bits: tuple[int, int] | None = None

    @classmethod
    def of(
        cls,
        image_size: Sides = None,
        crop: Literal["none", "center"] = "none",
        grey: bool = False,
        packed_bits: Sides = None,
    ) -> ImageOptions:
        """Return the options given by arguments of `load_dataset`.

        Raises:
            InputError: If a value is invalid.
        """
        check_choice(crop, ("none", "center"), "crop")
        size, packed = _two(image_size, "--image-size"), _two(packed_bits, "--packed-bits")
        return cls(size, crop, "grey" if grey else "auto", packed)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> ImageOptions:
        """Return the options from `dataclasses.asdict` by way of JSON, where tuples are lists."""
        plain: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
        return cls(**plain)

    def check_no_folder_options(self, name: str | Path) -> None:
        """Raise `InputError` if an option is given that only applies to folders of images.

        Args:
            name: Data set or file that is to be read.
        """
        if given := self._folder_flags():
            raise InputError(
                f"Expected {given} only with a folder of images or celeba; got the data set {name}. Leave it out."
            )

    def check_no_packed_bits(self, name: str | Path) -> None:
        """Raise `InputError` if packed bits are expected.

        Args:
            name: Data set or folder that is to be read.
        """
        check(
            self.packed_bits is None,
            f"Expected --packed-bits only with a file of packed bits (uint8, .npy or .npz); got {name}. Leave it out.",
        )

    def _folder_flags(self) -> str:
        """Return the flags that were given and apply to folders of images alone, such as "--crop center"."""
        size = "--image-size " + " ".join(map(str, self.size or ()))
        given = {
            size: self.size,
            f"--crop {self.crop}": self.crop != "none",
            "--grey": self.colours == "grey",
        }
        return ", ".join(flag for flag, is_given in given.items() if is_given)

    def cropped(self, height: int, width: int) -> tuple[int, int]:
        """Return height and width of the part of an image that is kept.

        Raises:
            InputError: If the image is smaller than the part that is to be kept.
        """
        if self.crop == "none":
            return height, width
        if isinstance(self.crop, int):
            check(
                self.crop <= min(height, width),
                f"Expected images of at least {self.crop} x {self.crop} pixels, of which the central part is used; "
                f"got {height} x {width}.",
            )
            return self.crop, self.crop
        wanted_height, wanted_width = self.size or (1, 1)
        scale = min(height / wanted_height, width / wanted_width)
        return max(1, round(scale * wanted_height)), max(1, round(scale * wanted_width))

    def final(self, height: int, width: int) -> tuple[int, int]:
        """Return the final height and width of an image."""
        kept = self.cropped(height, width)
        return self.size or kept

    def packed_width(self) -> int:
        """Return how many bytes hold a row of packed bits."""
        return -(-math.prod(self.packed_bits or ()) // 8)


AS_THEY_ARE = ImageOptions()
"""Images unchanged, as stored in their files."""


def _two(value: Sides, flag: str) -> tuple[int, int] | None:
    """Return height and width, or None."""
    if value is None:
        return None
    given = tuple(value) if isinstance(value, Sequence) else (value,)
    sides(given, flag)
    return (given[0], given[-1]) if given else None
