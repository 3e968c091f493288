"""Importance weights in chunks of rows and samples, with bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from pyro_vae._checks import check, check_integer, check_positive
from pyro_vae._compat import observe_tensors
from pyro_vae._programs import local_parameters
from pyro_vae.objectives import ProgramError, RowLogProbs, row_log_probs
from pyro_vae.objectives.independence import check_programs
from pyro_vae.objectives.unscored import PARTICLES, failing_rows, with_placeholder_rows
from pyro_vae.seeds import derive_seed

__all__ = ["Stream", "without_side_effects"]

CACHE_BYTES, DEVICE_BYTES = 2**24, 2**30
"""Default memory of a chunk in bytes, on a CPU and a GPU. On a CPU, tensors larger than its caches are slower."""
TRIED = 100
"""Maximum number of failing rows before the programs are considered invalid."""
SHARED = 8
"""Minimum chunk size, as a multiple of the memory that one run allocates regardless of the number of samples."""


@dataclass(frozen=True)
class Stream:
    """Importance sampling of rows in chunks.

    Args:
        model: A Pyro program with all its sites in the plate `"data"`.
        guide: A Pyro program with the model's latent sites.
        data: Rows of shape (N, data_dim), and their context.
        num_samples: Samples of z per row.
        max_memory: Maximum bytes of the tensors of one chunk; by default depends on the device.
        max_plate_nesting: Depth of nested plates in the programs.
        seed: Seed of the noise.

    Raises:
        InputError: If a number is out of range, or there are no rows.
    """

    model: Callable[..., Any]
    guide: Callable[..., Any]
    data: tuple[Tensor, ...]
    num_samples: int
    max_memory: float | None
    max_plate_nesting: int
    seed: int

    def __post_init__(self) -> None:
        check_integer(self.num_samples, "num_samples")
        check_integer(self.max_plate_nesting, "max_plate_nesting")
        check_integer(self.seed, "seed", minimum=0)
        if self.max_memory is not None:
            check_positive(self.max_memory, "max_memory")
        for values in self.data:
            check(
                isinstance(values, Tensor) and values.ndim > 0 and len(values) == len(self.data[0]) > 0,
                "Expected x as a tensor of shape (N, data_dim) with at least one row, or a tuple of tensors with "
                f"one entry a row; got {_described(self.data)}.",
            )

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the weights, from that of the rows."""
        dtype = self.data[0].dtype
        return dtype if dtype.is_floating_point else torch.get_default_dtype()

    def blocks(self) -> Iterator[Iterator[Tensor]]:
        """Yield for each block of rows its log weights, chunk by chunk: float64, (samples, rows), nats.

        Rows that cannot be scored have NaN, or minus infinity.

        Raises:
            InputError: If the programs cannot be evaluated row by row, or the guide does not cover the prior's support.
        """
        nesting, count = self.max_plate_nesting, self.num_samples
        check_programs(
            self.model,
            self.guide,
            *self.data,
            num_particles=count,
            max_plate_nesting=nesting,
            importance=True,
        )
        rows, samples = self._sizes()
        for start in range(0, len(self.data[0]), rows):
            yield self._chunks(start, rows, samples)

    def _chunks(self, start: int, rows: int, samples: int) -> Iterator[Tensor]:
        block = tuple(values[start : start + rows] for values in self.data)
        lost = torch.zeros(len(block[0]), dtype=torch.bool)
        # The noise of a block does not depend on previous blocks.
        seed = derive_seed(self.seed, start)
        torch.manual_seed(seed)
        for done in range(0, self.num_samples, samples):
            count = min(samples, self.num_samples - done)
            try:
                found = self._draw(block, count)
            except ProgramError:
                if done:
                    raise
                lost = failing_rows(partial(self._draw_rows, min(count, PARTICLES)), block)
                block = with_placeholder_rows(block, lost)
                torch.manual_seed(seed)
                found = self._draw(block, count)
            yield _weights(found, lost)

    def _draw(self, block: Sequence[Tensor], count: int) -> RowLogProbs:
        nesting = self.max_plate_nesting
        return row_log_probs(self.model, self.guide, *block, num_particles=count, max_plate_nesting=nesting)

    def _draw_rows(self, count: int, *block: Tensor) -> RowLogProbs:
        return self._draw(block, count)

    def _sizes(self) -> tuple[int, int]:
        """Return the numbers of rows and samples of a chunk; few rows, since each needs a run of the encoder."""
        once, each = self._bytes()
        default = max(DEVICE_BYTES if self.data[0].is_cuda else CACHE_BYTES, SHARED * once)
        pairs = max(1, int((self.max_memory or default) / each))
        chunks = -(-self.num_samples // pairs)
        samples = -(-self.num_samples // chunks)
        return max(1, pairs // samples), samples

    def _bytes(self) -> tuple[int, int]:
        """Return the bytes that a run allocates: independent of samples, and per sample of a row."""
        two, three = self._bytes_of_a_row()
        each = max(three - two, 8)
        return max(two - 2 * each, 0), each

    def _bytes_of_a_row(self) -> list[int]:
        """Return the bytes allocated by runs with two and three samples, on the first row that can be run."""
        last = len(self.data[0]) - 1
        for number in range(last + 1):
            row = [values[number : number + 1] for values in self.data]
            try:
                return [_allocated_bytes(partial(self._draw, row, count)) for count in (2, 3)]
            except ProgramError:
                if number == min(last, TRIED):
                    raise
        raise AssertionError("There is at least one row.")


def _described(data: tuple[Any, ...]) -> str:
    return (
        ", ".join(str(tuple(v.shape)) if isinstance(v, Tensor) else type(v).__name__ for v in data)
        or "nothing"
    )


@contextmanager
def without_side_effects(data: tuple[Tensor, ...]) -> Iterator[None]:
    """Run without gradients, with the programs' local parameters; restore the random state."""
    devices = sorted({values.device.index or 0 for values in data if values.is_cuda})
    with (
        torch.inference_mode(False),
        torch.random.fork_rng(devices=devices),
        local_parameters(),
        torch.no_grad(),
    ):
        yield


def _allocated_bytes(run: Callable[[], Any]) -> int:
    sizes: list[int] = []
    with observe_tensors(lambda tensor: sizes.append(tensor.numel() * tensor.element_size())):
        run()
    return sum(sizes)


def _weights(log_probs: RowLogProbs, lost: Tensor) -> Tensor:
    """Return the log weights in float64, NaN for rows that failed and for infinite values."""
    likelihood = log_probs.likelihood.double()
    weights = likelihood + log_probs.prior.double() - log_probs.guide.double()
    # If p(x | z) is zero the weight is zero, whatever prior and guide are at that z.
    weights = weights.masked_fill(likelihood == -torch.inf, -torch.inf)
    return weights.masked_fill((weights == torch.inf) | lost.to(weights.device), torch.nan)
