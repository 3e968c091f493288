"""Loss and gradients of an objective, traced once through Pyro's handlers into a graph of tensor operations.

For networks of usual size, Pyro's handlers take more time than the networks, and do the same work in every step.
Therefore `make_fx` records the tensor operations of the loss *and of its gradients* once. (A trace of the loss alone
would have wrong gradients for programs that use `detach`, hooks or a custom backward pass.) The graph is compared with
the untraced values on other rows and other noise, and compiled. Model and guide are ordinary Pyro programs.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from pyro_vae._checks import InputError
from pyro_vae._layout import laid_out_as
from pyro_vae.compiled.cache import Cache
from pyro_vae.compiled.graph import Backend, Graph, Operations, difference, inductor, trace
from pyro_vae.compiled.recording import Recording
from pyro_vae.objectives import Loss, ProgramError, Terms

__all__ = ["CompiledGradients", "Evaluation", "Gradients", "worth_compiling"]

REPAID_AFTER = 4_500
"""Minimum number of steps for compiling. It saves 2 to 6 ms per step and takes 12 to 22 s of processor time at the
first start, which is recovered after about 4000 steps, and 0.1 s at later starts."""

RETRACES = 3
"""Maximum number of changes of a program during training before compilation is given up."""


def worth_compiling(num_steps: int) -> bool:
    """Return whether compiling pays for a run of `num_steps` steps."""
    return num_steps >= REPAID_AFTER


class Evaluation(NamedTuple):
    """A loss with its gradients."""

    terms: Terms
    """Loss and its parts, detached."""
    sums: Tensor
    """Sums over the rows of the loss, of `terms.reconstruction` and of `terms.kl`, float64, shape (3,)."""
    norm: Tensor
    """Euclidean norm of the whole gradient, scalar."""
    failed: Tensor
    """1 if the loss or a gradient is not finite, else 0; scalar, float32."""
    gradients: tuple[Tensor | None, ...]
    """One gradient per parameter; None if the loss does not depend on it."""


class Gradients:
    """Loss and gradients through Pyro's handlers.

    Args:
        loss: An objective bound to a model and a guide.
        parameters: Parameters of the gradients; if empty, only the loss and its parts are computed.
    """

    note = ""
    """Why compilation fell back to eager execution; empty if it did not."""
    seconds = 0.0
    """Time spent tracing and compiling."""

    def __init__(self, loss: Loss, parameters: Sequence[Tensor]) -> None:
        self.loss = loss
        self.parameters = list(parameters)

    def __call__(self, *data: Tensor, progress: Tensor, unchanged: bool = False) -> Evaluation:
        """Return loss and gradients for a batch, with noise from torch's random state.

        Args:
            data: Arguments of model and guide.
            progress: Fraction of training done, a scalar in [0, 1].
            unchanged: Whether the programs are known to be unchanged since the last call, except for tensor values, so
                that checks for changes can be skipped.
        """
        with torch.set_grad_enabled(bool(self.parameters)):
            terms = self.loss.terms(*data, progress=progress)
        gradients = self._gradients(terms.loss)
        # Sum by rows: TorchInductor keeps the sum of a row in registers, but that of a whole tensor in memory.
        squares = [g.square().sum(-1).sum() for g in gradients if g is not None]
        norm = torch.stack(squares).sum().sqrt() if squares else torch.zeros_like(terms.loss)
        failed = 1 - torch.isfinite(norm + terms.loss.detach()).float()
        terms = terms._replace(loss=terms.loss.detach())
        parts = (terms.loss.expand_as(terms.kl), terms.reconstruction, terms.kl)
        sums = torch.stack([part.sum(dtype=torch.float64) for part in parts])
        return Evaluation(terms, sums, norm, failed, gradients)

    def parts(self, data: tuple[Tensor, ...]) -> list[tuple[Tensor, ...]]:
        """Return the parts in which a batch is evaluated: one, the whole batch."""
        return [data]

    def _gradients(self, loss: Tensor) -> tuple[Tensor | None, ...]:
        if not self.parameters:
            return ()
        gradients = torch.autograd.grad(loss, self.parameters, allow_unused=True)
        return tuple(
            None if gradient is None else laid_out_as(gradient.detach(), parameter)
            for gradient, parameter in zip(gradients, self.parameters, strict=True)
        )


class CompiledGradients(Gradients):
    """Loss and gradients by a compiled graph, traced once through Pyro's handlers.

    Batches with the shapes of the example use the graph; others (such as the last, partial batch of an epoch) use the
    handlers. The graph reads parameters and buffers in place, and is traced again if an attribute, mode, dtype or
    submodule of a module changes. Values that a plain function reads from outside are fixed at the trace. If a program
    cannot be traced, or its graph disagrees with it, execution falls back to the handlers and `note` states why.

    Args:
        loss: An objective bound to a model and a guide.
        parameters: Parameters of the gradients.
        example: A batch with the shapes of the graph.
        backend: The compiler of the graph.
        cache: Cache of graphs for a CPU; None compiles at every start.
    """

    def __init__(
        self,
        loss: Loss,
        parameters: Sequence[Tensor],
        example: Sequence[Tensor],
        backend: Backend = inductor,
        cache: Cache | None = None,
    ) -> None:
        super().__init__(loss, parameters)
        self.backend = backend
        self.cache = None if any(tensor.is_cuda for tensor in (*parameters, *example)) else cache
        self._shapes = _shapes(example)
        self._graph: Graph | None = None
        self._used: list[bool] = []
        self._traces = 0

    def __call__(self, *data: Tensor, progress: Tensor, unchanged: bool = False) -> Evaluation:
        """Return loss and gradients for a batch, with noise from torch's random state.

        Args:
            data: Arguments of model and guide.
            progress: Fraction of training done, a scalar in [0, 1].
            unchanged: Whether the programs are known to be unchanged since the last call, except for tensor values, so
                that checks for changes can be skipped.
        """
        if _shapes(data) == self._shapes and ((unchanged and self._graph) or self._ready(data, progress)):
            assert self._graph is not None
            return _evaluation(self._graph(progress, *data), self._used)
        return super().__call__(*data, progress=progress)

    def _ready(self, data: tuple[Tensor, ...], progress: Tensor) -> bool:
        if self._graph is not None and self._graph.is_current((progress, *data)):
            return True
        if not self.note:
            started = time.monotonic()
            self._graph = self._prepare(data, progress)
            self.seconds += time.monotonic() - started
        return not self.note and self._graph is not None

    def _prepare(self, data: tuple[Tensor, ...], progress: Tensor) -> Graph | None:
        """Trace, compile and check; set a note if that fails."""
        if self._traces > RETRACES:
            self.note = (
                "The programs changed repeatedly during training, so compilation falls back to Pyro's handlers. "
                "Keep values that change in a tensor (a buffer) rather than a Python attribute."
            )
            return None
        self._traces += 1
        # Other rows and noise than in the trace, to detect values that were fixed in the graph.
        flipped = (progress, *(part.flip(0) for part in data))
        recording = Recording(flipped)
        with _preserved_state(self.loss, seed=1) as after:
            with recording.running() if self.cache is not None else nullcontext():
                expected = self._evaluate(*flipped)
            buffers = after()
        if expected.failed:
            self._traces -= 1
            return None  # nothing to compare; the step itself reports the error
        key = self._key(recording, expected, (progress, *data))
        for is_kept in (True, False) if key else (False,):
            try:
                operations = (
                    self._kept(key, recording) if is_kept else self._traced(key, recording, progress, *data)
                )
                if operations is None:
                    continue
                graph = Graph(self.loss, (progress, *data), operations)
                worst = self._difference(graph, flipped, [*_tensors(expected), *buffers])
            except Exception as error:  # the program does something that a graph cannot represent
                if isinstance(error, InputError) and not isinstance(error, ProgramError):
                    raise
                if is_kept:
                    continue
                reason = _reason(error.__cause__ if isinstance(error.__cause__, Exception) else error)
                self.note = f"The programs could not be compiled ({reason}); falling back to Pyro's handlers."
                return None
            if worst <= graph.tolerance:
                self._used = [gradient is not None for gradient in expected.gradients]
                return graph
            if self.cache is not None:
                self.cache.forget(key)
        self.note = (
            f"The compiled loss or a gradient differs from Pyro's by {worst:.1g} of its size; falling back to "
            "Pyro's handlers. Does a program use values outside of tensors?"
        )
        return None

    def _evaluate(self, progress: Tensor, *data: Tensor) -> Evaluation:
        return Gradients.__call__(self, *data, progress=progress)

    def _key(self, recording: Recording, expected: Evaluation, inputs: Sequence[Tensor]) -> str:
        """Return the cache key of the graph; empty if it cannot be cached."""
        if self.cache is None or not recording.is_complete:
            return ""
        return self.cache.key(recording.digest(_tensors(expected)), inputs)

    def _kept(self, key: str, recording: Recording) -> Operations | None:
        """Return the cached graph, or None."""
        assert self.cache is not None
        kept = self.cache.load(key)
        if kept is None or max(kept.places, default=-1) >= len(recording.externals):
            return None
        return Operations(kept.run, [recording.externals[place] for place in kept.places], kept.tolerance)

    def _traced(self, key: str, recording: Recording, *inputs: Tensor) -> Operations:
        """Trace and compile, and cache the graph if possible."""
        started = time.monotonic()
        keeping: AbstractContextManager[list[Path]] = (
            self.cache.compiling() if self.cache else nullcontext([])
        )
        with _preserved_state(self.loss, seed=0), keeping as files:
            made = trace(lambda *given: _tensors(self._evaluate(*given)), inputs, self.backend)
        places = recording.places(made.captured) if key else None
        if self.cache is not None and places is not None and len(files) == 1:
            about = {"places": places, "tolerance": made.tolerance}
            self.cache.store(
                key, files[0], len(inputs) + len(places), **about, seconds=time.monotonic() - started
            )
        return made

    def _difference(self, graph: Graph, inputs: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
        """Return the difference of results and buffers from the expected ones, relative to their size."""
        # On a GPU the first run warms up, the second is recorded, the third is a replay. While recording, torch also
        # captures an empty graph, and warns about it.
        for _ in range(3 if inputs[0].is_cuda else 1):
            with _preserved_state(self.loss, seed=1) as after, warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="The CUDA Graph is empty")
                got, buffers = graph(*inputs), after()
        return difference(expected, [*got, *buffers])


def _shapes(data: Sequence[Tensor]) -> list[torch.Size]:
    return [part.shape for part in data]


def _tensors(evaluation: Evaluation) -> list[Tensor]:
    present = [gradient for gradient in evaluation.gradients if gradient is not None]
    return [*evaluation.terms, evaluation.sums, evaluation.norm, evaluation.failed, *present]


def _evaluation(tensors: Sequence[Tensor], used: Sequence[bool]) -> Evaluation:
    """Inverse of `_tensors`, with None for unused parameters."""
    loss, reconstruction, kl, sums, norm, failed, *given = tensors
    gradients: tuple[Tensor | None, ...] = tuple(given)
    if not all(used):
        remaining = iter(given)
        gradients = tuple(next(remaining) if is_used else None for is_used in used)
    return Evaluation(Terms(loss, reconstruction, kl), sums, norm, failed, gradients)


@contextmanager
def _preserved_state(loss: nn.Module, seed: int) -> Iterator[Callable[[], list[Tensor]]]:
    """Run with a separate random state, and restore it and all buffers; yields a function that copies the buffers."""
    buffers = list(loss.buffers())
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
