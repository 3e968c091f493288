"""Context as additional input columns of a network."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import embedding

from pyro_vae._checks import InputError, check

__all__ = ["context_columns"]

LABELS = (torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8)


def context_columns(context: Sequence[Tensor], width: int, like: Tensor) -> Tensor:
    """Return context as columns, shape (N, width).

    Columns are unchanged, including integer one-hot codes; a float tensor of shape (N,) is one column. One tensor of
    labels, integers of shape (N,), is one-hot encoded with the remaining width.

    Args:
        context: Tensors of shape (N, d) or (N,).
        width: Total number of columns.
        like: The other inputs, shape (N, features).

    Raises:
        InputError: If the total width differs, or a label is out of range.
    """
    labels = [part.ndim == 1 and part.dtype in LABELS for part in context]
    taken = sum(part[:1].numel() for part, is_label in zip(context, labels, strict=True) if not is_label)
    fits = taken < width if sum(labels) == 1 else taken == width and not any(labels)
    check(
        fits,
        f"Expected context of {width} columns in all, with at most one tensor of labels among them; got the shapes "
        f"{', '.join(str(tuple(part.shape)) for part in context)}.",
    )
    columns = [
        _one_hot(part, width - taken, like) if is_label else part.reshape(len(part), -1).to(like)
        for part, is_label in zip(context, labels, strict=True)
    ]
    return torch.cat(columns, dim=-1)


def _one_hot(labels: Tensor, width: int, like: Tensor) -> Tensor:
    try:
        return embedding(labels.long(), torch.eye(width, dtype=like.dtype, device=like.device))
    except IndexError:
        raise InputError(
            f"Expected labels from 0 to {width - 1}, the classes that the network was made for; got "
            f"{int(labels.min())} to {int(labels.max())}."
        ) from None
