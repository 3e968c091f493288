"""Class labels: whole numbers are kept, text is encoded as integers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pyro_vae._checks import InputError, check

__all__ = ["encode_labels"]


def encode_labels(values: ArrayLike, name: str) -> tuple[NDArray[np.int64], tuple[str, ...] | None]:
    """Return classes, int64 (N,), of values (N,) or (N, 1), and for text the sorted names of classes 0, 1, ...

    Raises:
        InputError: If the labels are neither whole numbers nor text.
    """
    labels: NDArray[Any] = np.asarray(values)
    labels = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
    check(
        labels.ndim == 1,
        f"Expected {name} of shape (N,) or (N, 1); got {labels.shape}. For one column per class, store "
        "y.argmax(1); leave out labels of any other kind.",
    )
    if labels.dtype.kind in "biu":
        return labels.astype(np.int64), None
    if labels.dtype.kind in "US":
        names, codes = np.unique(labels.astype(str), return_inverse=True)
        return codes.astype(np.int64), tuple(names.tolist())
    whole = labels.dtype.kind == "f" and np.isfinite(labels) & (labels == np.floor(labels))
    if not np.all(whole):
        other = labels[np.argmin(whole)] if np.ndim(whole) else labels.dtype
        raise InputError(
            f"Expected {name} to be classes (whole numbers or text); got {other}. "
            "Give it another name to use it as data."
        )
    return labels.astype(np.int64), None
