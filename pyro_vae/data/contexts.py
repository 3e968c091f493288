"""Description of the context of a data set: classes, or some entries of a row."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pyro_vae._checks import InputError

__all__ = ["MISSING", "ClassContext", "Context", "EntryContext", "context_from_json", "context_to_json"]

MISSING = -1
"""Code of an unknown label."""


@dataclass(frozen=True)
class ClassContext:
    """A context of labels.

    Attributes:
        classes: Names of the classes, in the order of their numbers 0, 1, ...
        partial: Whether labels may be missing: training is semi-supervised, and log p(x) sums over classes.
    """

    classes: tuple[str, ...]
    partial: bool = False

    @property
    def dim(self) -> int:
        """Columns of the context, one for each class."""
        return len(self.classes)


@dataclass(frozen=True)
class EntryContext:
    """A context of some entries of a row, after the same preprocessing as x.

    Attributes:
        entries: Indices of the entries, counted from 0, ascending.
        loc: Offset that is subtracted from each entry, in units of x.
        scale: Divisor of each entry.
        name: Description of the context in words.
    """

    entries: tuple[int, ...]
    loc: tuple[float, ...]
    scale: tuple[float, ...]
    name: str

    @property
    def dim(self) -> int:
        """Columns of the context."""
        return len(self.entries)

    def rest(self, data_dim: int) -> tuple[int, ...]:
        """Return the indices of the entries of a row of `data_dim` that are x."""
        return tuple(sorted(set(range(data_dim)) - set(self.entries)))

    def divider(self, data_dim: int, like: Tensor) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
        """Return the function from whole prepared rows (N, data_dim) to x (N, data_dim - dim) and context (N, dim).

        Args:
            data_dim: Entries of a whole row.
            like: A tensor with the device and precision of the rows.
        """
        rest, given = (torch.tensor(part, device=like.device) for part in (self.rest(data_dim), self.entries))
        loc, scale = like.new_tensor(self.loc), like.new_tensor(self.scale)
        return lambda rows: (rows[:, rest], (rows[:, given] - loc) / scale)

    def joined(self, x: Tensor, context: Tensor) -> Tensor:
        """Return whole rows (N, D) from x and context."""
        rows = x.new_empty(len(x), x.shape[1] + self.dim)
        rows[:, list(self.rest(rows.shape[1]))] = x
        rows[:, list(self.entries)] = context.to(x) * x.new_tensor(self.scale) + x.new_tensor(self.loc)
        return rows


Context = ClassContext | EntryContext
KINDS: dict[str, Callable[..., Context]] = {"label": ClassContext, "entries": EntryContext}


def context_to_json(context: Context | None) -> dict[str, Any] | None:
    """Return a context as plain values; None for none."""
    if context is None:
        return None
    kind = "label" if isinstance(context, ClassContext) else "entries"
    return {"kind": kind} | dataclasses.asdict(context)


def context_from_json(values: Any) -> Context | None:
    """Return a context from the output of `context_to_json`.

    Raises:
        InputError: If the values are not a saved context.
    """
    if values is None:
        return None
    try:
        settings: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
        }
        return KINDS[settings.pop("kind")](**settings)
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"Expected the saved context of rows; it does not read as one ({error}).") from None
