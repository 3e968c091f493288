"""Importance weights in chunks of rows and samples, with bounded memory."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from pyro_vae._checks import check, check_choice, check_integer, check_positive
from pyro_vae._compat import observe_tensors
from pyro_vae._programs import local_parameters
from pyro_vae.compiled import Cache, CompiledFunction
from pyro_vae.objectives import ProgramError, RowLogProbs, row_log_probs
from pyro_vae.objectives.independence import check_programs
from pyro_vae.objectives.unscored import PARTICLES, failing_rows, with_placeholder_rows
from pyro_vae.seeds import derive_seed

__all__ = ["Stream", "without_side_effects"]

CACHE_BYTES, DEVICE_BYTES = 2**24, 2**30
"""Default memory of a chunk in bytes, on a CPU and a GPU. On a CPU, tensors larger than its caches are slower."""
MAX_FAILING_ROWS = 100
"""Maximum number of failing rows before the programs are considered invalid."""
MIN_CHUNK_RATIO = 8
"""Minimum chunk size, as a multiple of the memory that one run allocates regardless of the number of samples."""

COMPILED_BYTES = 5e10
"""Minimum bytes of all tensors of an estimate for which "auto" compiles. Compiling saves 0.6 ns of processor time per
byte, and takes 12 to 36 s at the first start and 0.1 s at later starts."""
UNSCORED = "The programs are not compiled, because a row of the first or last block could not be scored."


@dataclass(frozen=True)
class Stream:
    """Importance sampling of rows in chunks.

    Args:
        model: A Pyro program with all its sites in the plate `"data"`.
        guide: A Pyro program with the model's latent sites.
        data: Rows of shape (N, data_dim), and their context.
        num_samples: Samples of z per row.
        max_memory: Maximum bytes of the tensors of one chunk; the default depends on the device.
        max_plate_nesting: Depth of nested plates in the programs.
        seed: Seed of the noise.
        compile: "on" compiles the programs for full chunks on a CPU, "auto" does if that saves time, "off" never.

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
    compile: str = "auto"

    def __post_init__(self) -> None:
        check_choice(self.compile, ("auto", "on", "off"), "compile")
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
        once, each = self._bytes()
        rows, samples = self._sizes(once, each)
        rows = min(rows, len(self.data[0]))
        compiled = self._compiled(rows, samples, each)
        for start in range(0, len(self.data[0]), rows):
            yield self._chunks(start, rows, samples, compiled)

    def _chunks(
        self, start: int, rows: int, samples: int, compiled: dict[int, CompiledFunction]
    ) -> Iterator[Tensor]:
        block = tuple(values[start : start + rows] for values in self.data)
        failing = torch.zeros(len(block[0]), dtype=torch.bool)
        # The noise of a block does not depend on previous blocks.
        seed = derive_seed(self.seed, start)
        torch.manual_seed(seed)
        for done in range(0, self.num_samples, samples):
            count = min(samples, self.num_samples - done)
            if len(block[0]) == rows and count in compiled and not failing.any():
                weights = _by_graph(compiled[count], block)
                if weights is not None:
                    yield weights
                    continue
            try:
                found = self._weights(count, *block)
            except ProgramError:
                if done:
                    raise
                failing = failing_rows(partial(self._weights, min(count, PARTICLES)), block)
                block = with_placeholder_rows(block, failing)
                torch.manual_seed(seed)
                found = self._weights(count, *block)
            yield found.masked_fill(failing.to(found.device), torch.nan)

    def _compiled(self, rows: int, samples: int, each: int) -> dict[int, CompiledFunction]:
        """Return the compiled programs of full blocks by the number of samples of a chunk."""
        if self.compile == "off" or any(values.is_cuda for values in self.data):
            return {}
        num_blocks = len(self.data[0]) // rows
        first, last = (
            tuple(
                values[start : start + rows].clone(memory_format=torch.contiguous_format)
                for values in self.data
            )
            for start in (0, (num_blocks - 1) * rows)
        )
        counts = Counter(
            min(samples, self.num_samples - done) for done in range(0, self.num_samples, samples)
        )
        found = {}
        for count, times in counts.items():
            if self.compile == "auto" and times * count * num_blocks * rows * each < COMPILED_BYTES:
                continue
            function = CompiledFunction(
                lambda *block, count=count: [self._weights(count, *block)],
                nn.Module(),
                cache=Cache.of_user(),
                is_usable=lambda results: bool(results[0].isfinite().all()),
            )
            try:
                is_ready = function.is_ready(first, last)
            except ProgramError:  # a program fails on the last block
                is_ready = False
            if is_ready:
                found[count] = function
            elif self.compile == "on":
                warnings.warn(function.note or UNSCORED, stacklevel=2)
        return found

    def _draw(self, block: Sequence[Tensor], count: int) -> RowLogProbs:
        nesting = self.max_plate_nesting
        return row_log_probs(self.model, self.guide, *block, num_particles=count, max_plate_nesting=nesting)

    def _weights(self, count: int, *block: Tensor) -> Tensor:
        return _weights(self._draw(block, count))

    def _sizes(self, once: int, each: int) -> tuple[int, int]:
        """Return the numbers of rows and samples of a chunk: few rows, as each chunk runs the encoder on its rows."""
        default = max(DEVICE_BYTES if self.data[0].is_cuda else CACHE_BYTES, MIN_CHUNK_RATIO * once)
        pairs = max(1, int((self.max_memory or default) / each))
        chunks = -(-self.num_samples // pairs)
        samples = -(-self.num_samples // chunks)
        return max(1, pairs // samples), samples

    def _bytes(self) -> tuple[int, int]:
        """Return the bytes that a run allocates regardless of the number of samples, and those per sample of a row."""
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
                if number == min(last, MAX_FAILING_ROWS):
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


def _by_graph(function: CompiledFunction, block: tuple[Tensor, ...]) -> Tensor | None:
    """Return the log weights of a chunk by a compiled graph; if it fails, restore the random state and return None."""
    assert function.graph is not None
    noise = torch.get_rng_state()
    try:
        (weights,) = function.graph(*(part.contiguous() for part in block))
    except RuntimeError:
        torch.set_rng_state(noise)
        return None
    return weights


def _weights(log_probs: RowLogProbs) -> Tensor:
    """Return the log weights in float64, NaN for infinite values."""
    likelihood = log_probs.likelihood.double()
    weights = likelihood + log_probs.prior.double() - log_probs.guide.double()
    # If p(x | z) = 0 the weight is 0, for any values of prior and guide at z.
    weights = weights.masked_fill(likelihood == -torch.inf, -torch.inf)
    return weights.masked_fill(weights == torch.inf, torch.nan)
