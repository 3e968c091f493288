"""Download of named data sets with torchvision."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pyro_vae._checks import InputError, MissingPackageError

__all__ = ["download"]


def download(name: str, fetch: Callable[[Any], object], places: str) -> None:
    """Fetch a data set.

    Args:
        name: Name of the data set.
        fetch: Function that downloads it, given the module `torchvision.datasets`.
        places: A sentence on where its files can be placed by hand.

    Raises:
        MissingPackageError: If torchvision, or a package that it needs for this data set, does not work.
        InputError: If the files could not be fetched.
    """
    try:
        from torchvision import datasets
    except (ImportError, RuntimeError) as error:  # a CPU torch beside a CUDA torchvision: "torchvision::nms"
        raise MissingPackageError(
            f"Downloading {name} needs a working torchvision ({error}). Install the one that belongs to your "
            f"torch: pip install torchvision, from the same index as torch. {places}"
        ) from error
    try:
        fetch(datasets)
    except (ImportError, OSError, RuntimeError) as error:
        raise InputError(f"Could not download {name} ({' '.join(str(error).split())}). {places}") from error
