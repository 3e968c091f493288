"""The single entry point for data: rows in any container become tuples of tensors `(x, *context)`, x (N, data_dim)."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from pyro_vae._checks import InputError, check
from pyro_vae._context import ContextRange
from pyro_vae.data.as_tensor import as_matrix, as_tensor, is_array
from pyro_vae.data.batch_order import iterate
from pyro_vae.data.containers import BLOCK, described, in_order, whole

__all__ = ["Entry"]


class Entry:
    """Converts data to the inputs of a model and a guide.

    Args:
        least: Smallest number of inputs of the programs, including x.
        most: Largest number of inputs; `math.inf` for any number.
        dtype: Precision of their parameters; None keeps the precision of floating rows.
        device: Device of their parameters; None keeps the device of the rows.
        image_shapes: Channels, height and width of the images that their networks take; empty if they take any rows.
    """

    def __init__(
        self,
        least: int = 1,
        most: float = math.inf,
        dtype: torch.dtype | None = None,
        device: torch.device | None = None,
        image_shapes: tuple[tuple[int, ...], ...] = (),
    ) -> None:
        self.least, self.most, self.dtype, self.device = least, most, dtype, device
        self.image_shapes = image_shapes
        self._said = False

    def taking(self, context: ContextRange) -> Entry:
        """Return the entry for x and another number of context tensors."""
        return Entry(1 + context.least, 1 + context.most, self.dtype, self.device, self.image_shapes)

    def of_codes(self, context: ContextRange) -> Entry:
        """Return the entry for rows of z, which are not images, and a number of context tensors."""
        return Entry(1 + context.least, 1 + context.most, self.dtype, self.device)

    def rows(self, data: Any, name: str = "x") -> tuple[Tensor, ...]:
        """Return all rows of `data` in order as `(x, *context)`, each with one entry per row.

        Args:
            data: See `in_order`.
            name: Name in messages.

        Raises:
            InputError: If the data is of another kind, empty, or has other inputs than the programs take.
        """
        parts = whole(data)
        if parts is not None:
            return self.batch(parts, name)
        batches = [self.batch(batch, name) for batch in iterate(in_order(data), 0)]
        check(bool(batches), f"Expected at least one row of {name}; got none.")
        _check_alike(batches, name)
        return tuple(torch.cat(column) for column in zip(*batches, strict=True))

    def rows_and_context(self, x: Any, context: tuple[Any, ...], name: str = "x") -> tuple[Tensor, ...]:
        """Return all rows `(x, *context)`, with context given separately or in the container of x.

        Args:
            x: See `in_order`.
            context: Arrays or tensors, rows first; those that the programs do not take are left out. Empty if `x`
                contains the context.
            name: Name in messages.

        Raises:
            InputError: If `rows` refuses the argument.
        """
        if not context:
            return self.rows(x, name)
        _check_no_numbers(context)
        rows = self.taking(ContextRange(0, 0)).rows(x, name)
        return self.rows((*rows, *context)[: int(min(self.most, 1 + len(context)))], name)

    def context(self, context: tuple[Any, ...], num_rows: int) -> tuple[Tensor, ...]:
        """Return the context converted for the programs, without tensors that they do not take.

        Args:
            context: Arrays or tensors, rows first.
            num_rows: Number of rows.

        Raises:
            InputError: If one is of another kind, or has another number of rows.
        """
        _check_no_numbers(context)
        return self._converted(context[: int(min(self.most - 1, len(context)))], num_rows)

    def blocks(self, data: Any, size: int = BLOCK) -> Iterator[tuple[Tensor, ...]]:
        """Yield the rows of `data` in order, `size` at a time, regardless of its batches.

        Args:
            data: See `in_order`.
            size: Rows in a block; the last one may have fewer.

        Raises:
            InputError: If `rows` refuses the argument.
        """
        parts = whole(data)
        batches = [parts] if parts is not None else iterate(in_order(data), 0)
        return _reblocked((self.batch(batch) for batch in batches), size)

    def batch(self, batch: Any, name: str = "x") -> tuple[Tensor, ...]:
        """Return one batch `(x, *context)` converted for the programs, x flattened to (n, data_dim).

        Args:
            batch: A tensor or array of rows, or a tuple or list of it and the context.
            name: Name of the rows in messages.

        Raises:
            InputError: If the batch holds something else, or other inputs than the programs take.
        """
        if self._is_ready(batch):
            return tuple(batch)
        parts = self.taken(_parts(batch), name)
        with torch.no_grad(), torch.inference_mode(False):
            x, shape = as_matrix(as_tensor(parts[0], name), name)
            self._check_image(shape, name)
            context = self._converted(parts[1:], len(x))
            x = x if x.is_floating_point() else x.to(self.dtype or torch.get_default_dtype())
            return self._placed(x), *context

    def _check_image(self, shape: tuple[int, ...], name: str) -> None:
        """Raise `InputError` if rows are images of a shape that the networks were not built for."""
        if len(shape) < 2 or not self.image_shapes:
            return
        image = self.image_shapes[0]
        check(
            (1, *shape)[-3:] in self.image_shapes and len(shape) < 4,
            f"Expected images {name} of shape {image[1:] if image[0] == 1 else image}, which the networks were built "
            f"for, or rows of {math.prod(image)} columns; got images of shape {shape}. Transpose or resize them.",
        )

    def _converted(self, context: tuple[Any, ...], num_rows: int) -> tuple[Tensor, ...]:
        tensors = [as_tensor(part, f"context {number + 1}") for number, part in enumerate(context)]
        for number, part in enumerate(tensors):
            check(
                part.ndim > 0 and len(part) == num_rows,
                f"Expected context {number + 1} with one entry for each of the {num_rows} rows; got shape "
                f"{tuple(part.shape)}.",
            )
        return tuple(map(self._placed, tensors))

    def _is_ready(self, batch: Any) -> bool:
        """Return whether a batch needs no conversion, as is typical in a training loop."""
        return (
            type(batch) is tuple
            and self.least <= len(batch) <= self.most
            and all(type(part) is Tensor and part.layout == torch.strided for part in batch)
            and not any(part.requires_grad or part.is_inference() for part in batch)
            and batch[0].ndim in (1, 2)
            and batch[0].is_floating_point()
            and len(batch[0]) > 0
            and all(len(part) == len(batch[0]) if part.ndim else False for part in batch)
            and all(self._fits(part) for part in batch)
        )

    def _fits(self, part: Tensor) -> bool:
        return self.device in (None, part.device) and part.dtype == self._dtype_of(part)

    def _dtype_of(self, part: Tensor) -> torch.dtype:
        """Return the precision in which the programs take a tensor."""
        if not part.is_floating_point():
            return part.dtype
        # float16 on a CPU is for storage: networks and densities have no kernels for it.
        return self.dtype or (torch.get_default_dtype() if part.dtype.itemsize < 4 else part.dtype)

    def _placed(self, part: Tensor) -> Tensor:
        return part.to(self.device or part.device, self._dtype_of(part))

    def taken(self, parts: tuple[Any, ...], name: str = "x") -> tuple[Any, ...]:
        """Return the inputs that the programs take; if y is left out, a warning is issued once.

        Raises:
            InputError: If there are too few, or too many of them.
        """
        count = len(parts)
        if count < self.least:
            raise InputError(
                f"Expected {self.least} inputs, {name} and context, which the programs take; got {count}. Give a tuple "
                f"({name}, *context), or batches of them."
            )
        if count <= self.most:
            return parts
        if self.most == 1 and count == 2:
            self._warn_dropped()
            return parts[:1]
        raise InputError(
            f"Expected at most {self.most:g} input{'s' * (self.most > 1)}, which the programs take; got {count} a "
            "batch. Leave out what they do not take."
        )

    def _warn_dropped(self) -> None:
        if not self._said:
            self._said = True
            warnings.warn(
                "The data yields (x, y) and the programs take x alone: they run without y. Programs that take y as "
                "context have it as their second argument.",
                stacklevel=2,
            )


def _parts(batch: Any) -> tuple[Any, ...]:
    if isinstance(batch, tuple) or (isinstance(batch, list) and any(map(is_array, batch))):
        return tuple(batch)
    check(
        is_array(batch) or isinstance(batch, list),
        f"Expected batches as tensors or tuples (x, *context); got {described(batch)}",
    )
    return (batch,)


def _check_no_numbers(context: tuple[Any, ...]) -> None:
    for number, part in enumerate(context):
        check(
            not isinstance(part, int | float),
            f"Expected context {number + 1} with one entry a row; got the number {part!r}. Give the rows of a chunk by "
            f"name: batch_size={part!r}.",
        )


def _check_alike(batches: list[tuple[Tensor, ...]], name: str) -> None:
    for batch in batches:
        check(
            len(batch) == len(batches[0])
            and all(a.shape[1:] == b.shape[1:] for a, b in zip(batch, batches[0], strict=True)),
            f"Expected batches of {name} with rows of one shape; got {_shapes(batches[0])} and {_shapes(batch)}.",
        )


def _shapes(batch: tuple[Tensor, ...]) -> str:
    return ", ".join(str(tuple(part.shape)) for part in batch)


def _reblocked(batches: Iterable[tuple[Tensor, ...]], size: int) -> Iterator[tuple[Tensor, ...]]:
    """Yield blocks of `size` rows from batches of any sizes."""
    waiting: list[tuple[Tensor, ...]] = []
    for batch in batches:
        waiting.append(batch)
        _check_alike(waiting[-2:], "x")
        if sum(len(one[0]) for one in waiting) >= size:
            joined = tuple(torch.cat(column) for column in zip(*waiting, strict=True))
            whole_blocks = len(joined[0]) // size * size
            for start in range(0, whole_blocks, size):
                yield tuple(part[start : start + size] for part in joined)
            waiting = [tuple(part[whole_blocks:] for part in joined)] if whole_blocks < len(joined[0]) else []
    if waiting:
        yield tuple(torch.cat(column) for column in zip(*waiting, strict=True))
