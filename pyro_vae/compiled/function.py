"""A function of tensors, traced through Pyro's handlers, compiled, compared with the function, and cached."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import torch
from torch import Tensor, nn

from pyro_vae._checks import InputError
from pyro_vae.compiled.cache import Cache
from pyro_vae.compiled.graph import Backend, Graph, Operations, difference, inductor, trace
from pyro_vae.compiled.recording import Recording
from pyro_vae.objectives import ProgramError

__all__ = ["CompiledFunction"]

RETRACES = 3
"""Maximum number of changes of a program before compilation is given up."""


class CompiledFunction:
    """A function of tensors as a compiled graph, for inputs of fixed shapes.

    The graph reads parameters and buffers in place, and is traced again if an attribute, mode, dtype or submodule of
    the module changes. Values that a plain function reads from outside are fixed at the trace. If the function cannot
    be traced, or its graph disagrees with it, there is no graph and `note` states why.

    Args:
        function: Function from tensors to tensors.
        module: The module that it runs; its buffers are restored after a trace.
        backend: The compiler of the graph.
        cache: Cache of graphs for a CPU; None compiles at every start.
        is_usable: Whether results of the function can be compared with those of a graph; otherwise there is no graph
            for these inputs.
    """

    def __init__(
        self,
        function: Callable[..., list[Tensor]],
        module: nn.Module,
        backend: Backend = inductor,
        cache: Cache | None = None,
        is_usable: Callable[[list[Tensor]], bool] = lambda results: True,
    ) -> None:
        self.function = function
        self.module = module
        self.backend = backend
        self.cache = cache
        self.is_usable = is_usable
        self.note = ""
        """Why there is no graph; empty if there is one."""
        self.seconds = 0.0
        """Time spent tracing and compiling."""
        self.graph: Graph | None = None
        self._traces = 0

    def is_ready(self, inputs: Sequence[Tensor], others: Sequence[Tensor]) -> bool:
        """Return whether there is a graph for the module as it is now; traces one if necessary.

        Args:
            inputs: Inputs for the trace.
            others: Inputs of the same shapes for the comparison, to detect values that were fixed in the graph.
        """
        if self.graph is not None and self.graph.is_current(inputs):
            return True
        if not self.note:
            started = time.monotonic()
            self.graph = self._prepare(inputs, others)
            self.seconds += time.monotonic() - started
        return not self.note and self.graph is not None

    def _prepare(self, inputs: Sequence[Tensor], others: Sequence[Tensor]) -> Graph | None:
        """Trace, compile and check; set a note if that fails."""
        if self._traces > RETRACES:
            self.note = (
                "The programs changed repeatedly during training, so compilation falls back to Pyro's handlers. "
                "Keep values that change in a tensor (a buffer) rather than a Python attribute."
            )
            return None
        self._traces += 1
        recording = Recording(others)
        with _preserved_state(self.module, seed=1) as after:
            with recording.running() if self.cache is not None else nullcontext():
                expected = self.function(*others)
            buffers = after()
        if not self.is_usable(expected):
            self._traces -= 1
            return None
        key = self._key(recording, expected, inputs)
        for is_kept in (True, False) if key else (False,):
            try:
                operations = self._kept(key, recording) if is_kept else self._traced(key, recording, inputs)
                if operations is None:
                    continue
                graph = Graph(self.module, inputs, operations)
                worst = self._disagreement(graph, others, [*expected, *buffers])
            except Exception as error:  # the program does something that a graph cannot represent
                if isinstance(error, InputError) and not isinstance(error, ProgramError):
                    raise
                if is_kept:
                    continue
                reason = _reason(error.__cause__ if isinstance(error.__cause__, Exception) else error)
                self.note = f"The programs could not be compiled ({reason}); falling back to Pyro's handlers."
                return None
            if worst <= graph.tolerance:
                return graph
            if self.cache is not None:
                self.cache.forget(key)
        self.note = (
            f"The compiled loss or a gradient differs from Pyro's by {worst:.1g} of its size; falling back to "
            "Pyro's handlers. Does a program use values outside of tensors?"
        )
        return None

    def _key(self, recording: Recording, expected: Sequence[Tensor], inputs: Sequence[Tensor]) -> str:
        """Return the cache key of the graph; empty if it cannot be cached."""
        if self.cache is None or not recording.is_complete:
            return ""
        return self.cache.key(recording.digest(expected), inputs)

    def _kept(self, key: str, recording: Recording) -> Operations | None:
        """Return the cached graph, or None."""
        assert self.cache is not None
        kept = self.cache.load(key)
        if kept is None or max(kept.places, default=-1) >= len(recording.externals):
            return None
        return Operations(kept.run, [recording.externals[place] for place in kept.places], kept.tolerance)

    def _traced(self, key: str, recording: Recording, inputs: Sequence[Tensor]) -> Operations:
        """Trace and compile, and cache the graph if possible."""
        started = time.monotonic()
        keeping: AbstractContextManager[list[Path]] = (
            self.cache.compiling() if self.cache else nullcontext([])
        )
        with _preserved_state(self.module, seed=0), keeping as files:
            made = trace(self.function, inputs, self.backend)
        places = recording.places(made.captured) if key else None
        if self.cache is not None and places is not None and len(files) == 1:
            about = {"places": places, "tolerance": made.tolerance}
            self.cache.store(
                key, files[0], len(inputs) + len(places), **about, seconds=time.monotonic() - started
            )
            # The library itself takes 10 to 20 us less per call than TorchInductor's wrappers around it.
            return self._kept(key, recording) or made
        return made

    def _disagreement(self, graph: Graph, inputs: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
        """Return the difference from the function's results for the noise of a seed, or the larger one of two others.

        A rounding error can switch a unit with a kink (ReLU), which changes a gradient by 1e-4 to 1e-3 of its size: in
        7 of 1200 comparisons of 784-200-200-50 with 100 rows, thus hardly ever for two of three seeds.
        """
        worst = self._difference(graph, inputs, expected, seed=1)
        if worst <= graph.tolerance:
            return worst
        return max(self._difference(graph, inputs, self._expected(inputs, seed), seed) for seed in (2, 3))

    def _expected(self, inputs: Sequence[Tensor], seed: int) -> list[Tensor]:
        """Return results of the function and buffers after it, for the noise of a seed."""
        with _preserved_state(self.module, seed) as after:
            return [*self.function(*inputs), *after()]

    def _difference(
        self, graph: Graph, inputs: Sequence[Tensor], expected: Sequence[Tensor], seed: int
    ) -> float:
        """Return the difference of results and buffers from the expected ones, relative to their size."""
        # On a GPU the first run warms up, the second is recorded, the third is a replay. While recording, torch also
        # captures an empty graph, and warns about it.
        for _ in range(3 if inputs[0].is_cuda else 1):
            with _preserved_state(self.module, seed) as after, warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="The CUDA Graph is empty")
                got, buffers = graph(*inputs), after()
        return difference(expected, [*got, *buffers])


@contextmanager
def _preserved_state(module: nn.Module, seed: int) -> Iterator[Callable[[], list[Tensor]]]:
    """Run with a separate random state, and restore it and all buffers; yields a function that copies the buffers."""
    buffers = list(module.buffers())
    copies = [buffer.clone() for buffer in buffers]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        try:
            yield lambda: [buffer.clone() for buffer in buffers]
        finally:
            with torch.no_grad():
                for buffer, copy in zip(buffers, copies, strict=True):
                    buffer.copy_(copy)


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else ''}"[:200].rstrip(".: ")
