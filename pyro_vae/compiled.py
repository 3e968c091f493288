"""Loss and gradients of an objective, traced once through Pyro's handlers into a graph of tensor operations.

Running the handlers costs more than the networks on the sizes that people train. They do the same work in every
step, so it is done once: `make_fx` records the tensor operations of the loss *and of its gradients* (a trace of the
loss alone has wrong gradients where a program uses `detach`, hooks or a backward pass of its own), the graph is held
against the untraced values on other rows and other noise, and compiled. Model and guide stay ordinary Pyro programs.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.fx import GraphModule
from torch.fx.experimental.proxy_tensor import make_fx

from pyro_vae._checks import InputError
from pyro_vae.matmul import through_onednn
from pyro_vae.objectives import Loss, Terms

__all__ = [
    "CompiledGradients",
    "Evaluation",
    "Gradients",
    "inductor",
    "uncompiled",
    "worth_compiling",
]

REPAID_AFTER = 10_000
"""Steps after which compiling has been repaid: it takes 10 to 30 s, and saves 2 ms and more in each step."""

RETRACES = 3
"""How often a program may change while it is trained before its traces are no longer worth their time."""
TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-9}
"""Largest relative difference between a gradient's two values: sums in another order, and no more."""
COARSE_TOLERANCE = 3e-2
"""The same where a product is rounded to bfloat16."""

Backend = Callable[[GraphModule, list[Tensor]], Callable[..., Sequence[Tensor]]]


def worth_compiling(num_steps: int) -> bool:
    """Return whether a run of so many steps repays the time that compiling takes."""
    return num_steps >= REPAID_AFTER


class Evaluation(NamedTuple):
    """A loss with its gradients."""

    terms: Terms
    """Loss and its parts, detached."""
    sums: Tensor
    """Sums over the rows of `terms.reconstruction` and of `terms.kl`, float64, shape (2,)."""
    norm: Tensor
    """Euclidean norm of the whole gradient, scalar."""
    failed: Tensor
    """1 where the loss or a gradient is not finite, else 0; scalar, float32."""
    gradients: tuple[Tensor | None, ...]
    """One for each parameter, of its shape; None where the loss does not depend on it."""


class Gradients:
    """Loss and gradients by Pyro's handlers, which run anew in each call.

    Args:
        loss: An objective bound to a model and a guide.
        parameters: What the gradients are taken in; without any only the loss and its parts are computed.
    """

    note = ""
    """Why Pyro's handlers run in every step though compiling was asked for; empty where they do not."""
    seconds = 0.0
    """Time spent tracing and compiling."""

    def __init__(self, loss: Loss, parameters: Sequence[Tensor]) -> None:
        self.loss = loss
        self.parameters = list(parameters)

    def __call__(self, *data: Tensor, progress: Tensor) -> Evaluation:
        """Return loss and gradients for a batch, with noise from torch's random state.

        Args:
            data: What model and guide are called with.
            progress: Share of training that is done, a scalar in [0, 1].
        """
        with torch.set_grad_enabled(bool(self.parameters)):
            terms = self.loss.terms(*data, progress=progress)
        gradients = self._gradients(terms.loss)
        squares = [g.square().sum() for g in gradients if g is not None]
        norm = torch.stack(squares).sum().sqrt() if squares else torch.zeros_like(terms.loss)
        failed = 1 - torch.isfinite(norm + terms.loss.detach()).float()
        sums = torch.stack([part.sum(dtype=torch.float64) for part in (terms.reconstruction, terms.kl)])
        return Evaluation(terms._replace(loss=terms.loss.detach()), sums, norm, failed, gradients)

    def _gradients(self, loss: Tensor) -> tuple[Tensor | None, ...]:
        if not self.parameters:
            return ()
        gradients = torch.autograd.grad(loss, self.parameters, allow_unused=True)
        # As the parameters lie in memory: what comes out of a transposed product need not.
        return tuple(None if g is None else g.detach().contiguous() for g in gradients)


def uncompiled(graph: GraphModule, inputs: list[Tensor]) -> Callable[..., Sequence[Tensor]]:
    """Return the graph as it is: Pyro's handlers are gone, the operations run one by one."""
    return graph


def inductor(graph: GraphModule, inputs: list[Tensor]) -> Callable[..., Sequence[Tensor]]:
    """Return the graph compiled by TorchInductor, called with flat tensors: there are no guards to evaluate."""
    from torch._inductor import compile as compile_graph
    from torch._inductor import config

    # Random numbers from torch's own generators: the noise of a seed is the same, compiled or not. One thread in this
    # process: the pool of compiling processes takes longer to start, each with a torch of its own, than it saves.
    with torch.no_grad(), config.patch({"fallback_random": True, "compile_threads": 1}):
        compiled: Callable[..., Sequence[Tensor]] = compile_graph(graph, [*inputs])
    return compiled


class CompiledGradients(Gradients):
    """Loss and gradients by a graph that was traced through Pyro's handlers once and compiled.

    Batches of the example's shapes go through the graph, others (an epoch's last, partial one) through the handlers.
    The graph reads parameters and buffers where they are, and is traced anew when a module's attribute, mode, dtype or
    submodule changes; what a plain function reads from outside is as it was at the trace. A program that cannot be
    traced, or whose graph does not agree with it, runs by the handlers: `note` says why.

    Args:
        loss: An objective bound to a model and a guide.
        parameters: What the gradients are taken in.
        example: A batch of the kind that goes through the graph.
        backend: What makes the graph fast.
    """

    def __init__(
        self,
        loss: Loss,
        parameters: Sequence[Tensor],
        example: Sequence[Tensor],
        backend: Backend = inductor,
    ) -> None:
        super().__init__(loss, parameters)
        self.backend = backend
        self._shapes = _shapes(example)
        self._graph: _Graph | None = None
        self._traces = 0

    def __call__(self, *data: Tensor, progress: Tensor) -> Evaluation:
        """Return loss and gradients for a batch, with noise from torch's random state.

        Args:
            data: What model and guide are called with.
            progress: Share of training that is done, a scalar in [0, 1].
        """
        if _shapes(data) == self._shapes and self._ready(data, progress):
            assert self._graph is not None
            return self._graph(*data, progress)
        return super().__call__(*data, progress=progress)

    def _ready(self, data: tuple[Tensor, ...], progress: Tensor) -> bool:
        if self._graph is not None and self._graph.is_current(data):
            return True
        if not self.note:
            started = time.monotonic()
            self._graph = self._prepare(data, progress)
            self.seconds += time.monotonic() - started
        return not self.note and self._graph is not None

    def _prepare(self, data: tuple[Tensor, ...], progress: Tensor) -> _Graph | None:
        """Trace, compile and check; where that fails leave a note."""
        if self._traces > RETRACES:
            self.note = (
                "The programs changed again and again while they were trained, so that Pyro's handlers now run in "
                "every step. Keep what changes in a tensor (a buffer) rather than a Python attribute."
            )
            return None
        self._traces += 1
        # Other rows and other noise than in the trace: a value that was baked into the graph shows itself.
        flipped = tuple(part.flip(0) for part in data)
        evaluate = super().__call__
        with _as_it_was(self.loss, seed=1) as after:
            expected, buffers = evaluate(*flipped, progress=progress), after()
        if expected.failed:
            self._traces -= 1
            return None  # nothing to compare; the step itself will tell what is wrong
        try:
            with _as_it_was(self.loss, seed=0):
                graph = _Graph(self.loss, evaluate, data, progress, self.backend)
            with _as_it_was(self.loss, seed=1) as after:
                got, got_buffers = graph(*flipped, progress), after()
        except InputError:
            raise
        except Exception as error:  # whatever a program does that a graph cannot hold
            reason = _reason(error)
            self.note = (
                f"The programs could not be compiled ({reason}), so that Pyro's handlers run in every step."
            )
            return None
        worst = _difference([*_tensors(expected), *buffers], [*_tensors(got), *got_buffers])
        if worst > graph.tolerance:
            self.note = (
                f"The compiled loss or a gradient differs from Pyro's own by {worst:.1g} of its size, so that Pyro's "
                "handlers run in every step. Does a program use values outside of tensors?"
            )
            return None
        return graph


class _Graph:
    """The tensor operations of one evaluation, with the state of the programs that they hold for."""

    def __init__(
        self,
        loss: Loss,
        evaluate: Callable[..., Evaluation],
        data: tuple[Tensor, ...],
        progress: Tensor,
        backend: Backend,
    ) -> None:
        used: list[bool] = []

        def flat(progress: Tensor, *data: Tensor) -> tuple[Tensor, ...]:
            evaluation = evaluate(*data, progress=progress)
            used[:] = [gradient is not None for gradient in evaluation.gradients]
            return tuple(_tensors(evaluation))

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            graph = make_fx(flat)(progress, *data)
            self.captured = _lift(graph)
            through_onednn(graph)
            self._run = backend(graph, [progress, *data, *self.captured])
        self.used = used
        self.tolerance = _tolerance(graph)
        attributes = [vars(module) for module in loss.modules()]
        self._parts = [own[name] for own in attributes for name in PARTS]
        self._dicts = [*attributes, *filter(None, self._parts)]
        self._state = self._look(data)

    @torch.no_grad()
    def __call__(self, *inputs: Tensor) -> Evaluation:
        *data, progress = inputs
        loss, reconstruction, kl, sums, norm, failed, *given = self._run(progress, *data, *self.captured)
        remaining = iter(given)
        gradients = tuple(next(remaining) if used else None for used in self.used)
        return Evaluation(Terms(loss, reconstruction, kl), sums, norm, failed, gradients)

    def is_current(self, data: tuple[Tensor, ...]) -> bool:
        """Return whether the programs, and the kind of data, are those that were traced."""
        try:
            return self._look(data) == self._state
        except RuntimeError:  # two different tensors do not compare to one truth value
            return False

    def _look(self, data: tuple[Tensor, ...]) -> list[Any]:
        # In every step, so as fast as can be: empty parts, which most are, are only counted.
        attributes = [tuple(own.values()) for own in self._dicts]
        return [
            attributes,
            sum(map(len, self._parts)),
            [(t.dtype, t.device, t.requires_grad) for t in self.captured],
        ]


PARTS = ("_parameters", "_buffers", "_modules", "_forward_hooks", "_forward_pre_hooks")
"""What a module holds in dictionaries of its own."""


def _shapes(data: Sequence[Tensor]) -> list[torch.Size]:
    return [part.shape for part in data]


def _tensors(evaluation: Evaluation) -> list[Tensor]:
    present = [gradient for gradient in evaluation.gradients if gradient is not None]
    return [*evaluation.terms, evaluation.sums, evaluation.norm, evaluation.failed, *present]


def _lift(graph: GraphModule) -> list[Tensor]:
    """Turn the tensors that a graph holds (parameters, buffers, constants) into inputs, and return them."""
    inputs: dict[int, Any] = {}
    captured: list[Tensor] = []
    nodes = list(graph.graph.nodes)
    last = [node for node in nodes if node.op == "placeholder"][-1]
    for node in nodes:
        if node.op != "get_attr":
            continue
        tensor = getattr(graph, node.target)
        if id(tensor) not in inputs:
            with graph.graph.inserting_after(last):
                last = inputs[id(tensor)] = graph.graph.placeholder(f"captured_{len(captured)}")
            last.meta.update(node.meta)
            captured.append(tensor)
        node.replace_all_uses_with(inputs[id(tensor)])
        graph.graph.erase_node(node)
    graph.recompile()
    return captured


def _tolerance(graph: GraphModule) -> float:
    values = (node.meta.get("val") for node in graph.graph.nodes)
    dtypes = {value.dtype for value in values if isinstance(value, Tensor)}
    if torch.bfloat16 in dtypes:
        return COARSE_TOLERANCE
    return max((TOLERANCE[dtype] for dtype in dtypes & set(TOLERANCE)), default=TOLERANCE[torch.float32])


def _difference(expected: list[Tensor], got: list[Tensor]) -> float:
    """Return the largest difference of two tensors, relative to the size of the expected one.

    One that is tiny beside the others is measured by a thousandth of the largest: it may be all rounding.
    """
    sizes = [float(torch.linalg.vector_norm(value.double())) for value in expected]
    floor = 1e-3 * max(sizes) + 1e-30
    off = (
        float(torch.linalg.vector_norm(a.double() - b.double())) for a, b in zip(expected, got, strict=True)
    )
    return max(gap / max(size, floor) for gap, size in zip(off, sizes, strict=True))


@contextmanager
def _as_it_was(loss: nn.Module, seed: int) -> Iterator[Callable[[], list[Tensor]]]:
    """Run with a random state of its own and put it and all buffers back; yields what copies the buffers."""
    buffers = list(loss.buffers())
    copies = [buffer.clone() for buffer in buffers]
    devices = sorted({p.device.index or 0 for p in loss.parameters() if p.is_cuda})
    with torch.random.fork_rng(devices=devices):
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
