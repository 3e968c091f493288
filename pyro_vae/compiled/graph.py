"""The tensor operations of a function of some modules, recorded, and made fast by a backend."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.fx import GraphModule

from pyro_vae._compat import compile_graph, module_tables, record
from pyro_vae.compiled.masks import without_mask_indexing
from pyro_vae.compiled.matmul import lower_linear, lower_products

__all__ = ["Backend", "Graph", "Operations", "difference", "inductor", "trace", "uncompiled"]

TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-9}
"""Largest relative difference between a gradient's two values: sums in another order, and no more."""
COARSE_TOLERANCE = 3e-2
"""The same where a product is rounded to bfloat16."""
MIN_CHUNK_SIZE = 2**15
"""Entries of a tensor that are worth a thread of their own in what is not a product."""

Backend = Callable[[GraphModule, list[Tensor]], Callable[..., Sequence[Tensor]]]
"""Takes a traced graph and example inputs; gives a function of the inputs."""


def uncompiled(graph: GraphModule, inputs: list[Tensor]) -> Callable[..., Sequence[Tensor]]:
    """Return the graph as it is: Pyro's handlers are gone, the operations run one by one."""
    return graph


def inductor(graph: GraphModule, inputs: list[Tensor]) -> Callable[..., Sequence[Tensor]]:
    """Return the graph compiled by TorchInductor, called with flat tensors: there are no guards to evaluate.

    On a GPU it is recorded as a CUDA graph, whose kernels are launched all at once: on small networks the launches are
    what takes time.
    """
    # Random numbers from torch's own generators: the noise of a seed is the same, compiled or not. One thread in this
    # process: the pool of compiling processes takes longer to start, each with a torch of its own, than it saves. On a
    # CPU all is one C++ function, which is compiled faster than its kernels one by one, and calls them faster; where
    # two threads meet they wait for each other, so only large tensors are shared among them. On a GPU the operations
    # would be put into another order to need less memory, those that draw noise among them.
    on_gpu = any(tensor.is_cuda for tensor in inputs)
    settings = {
        "fallback_random": True,
        "reorder_for_peak_memory": not on_gpu,
        "compile_threads": 1,
        "triton.cudagraphs": on_gpu,
        "cpp_wrapper": not on_gpu,
        "cpp.min_chunk_size": MIN_CHUNK_SIZE,
    }
    lower_linear()
    for node in graph.graph.nodes:
        node.meta.clear()  # the example tensors of the trace, which are not those of the compilation
        if node.target is torch.ops.aten.view.default:
            node.target = (
                torch.ops.aten.reshape.default
            )  # memory may be laid out in another order than in the trace
    with torch.no_grad():
        compiled = compile_graph(graph, inputs, settings)
    return _replayed(compiled) if on_gpu else compiled


def _replayed(compiled: Callable[..., Sequence[Tensor]]) -> Callable[..., Sequence[Tensor]]:
    """Return a function with results of its own: those of a CUDA graph lie where its next run will write."""

    def run(*inputs: Tensor) -> Sequence[Tensor]:
        torch.compiler.cudagraph_mark_step_begin()
        return [result.clone() for result in compiled(*inputs)]

    return run


class Operations(NamedTuple):
    """The tensor operations of a function."""

    run: Callable[..., Sequence[Tensor]]
    """Function of the inputs and the captured tensors."""
    captured: list[Tensor]
    """What the operations read beside the inputs: parameters, buffers, constants."""
    tolerance: float
    """Largest relative difference of a result that is rounding."""


def trace(
    function: Callable[..., Sequence[Tensor]], inputs: Sequence[Tensor], backend: Backend
) -> Operations:
    """Record the operations of a function and make them fast.

    Args:
        function: From tensors to tensors; called once.
        inputs: Tensors that it is called with.
        backend: What makes the graph fast.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph = record(function, *inputs)
        captured = _lift(graph)
        without_mask_indexing(graph)
        lower_products(graph)
        tolerance = _tolerance(graph)
        return Operations(backend(graph, [*inputs, *captured]), captured, tolerance)


class Graph:
    """The tensor operations of a function, with the state of the modules that they hold for.

    Parameters and buffers are read where they are, and written there where the function writes them.

    Args:
        module: What the function runs.
        inputs: Tensors that the function is called with.
        operations: The function's, as `trace` or the cache gives them.
    """

    def __init__(self, module: nn.Module, inputs: Sequence[Tensor], operations: Operations) -> None:
        self._run, self.captured, self.tolerance = operations
        self._attributes = [vars(part) for part in module.modules()]
        self._parts = [table for part in module.modules() for table in module_tables(part)]
        self._filled = [part for part in self._parts if part]
        self._values = [itemgetter(*_own_names(own)) for own in self._attributes]
        self._state = self._look(inputs)

    @torch.no_grad()
    def __call__(self, *inputs: Tensor) -> Sequence[Tensor]:
        """Return what the function would, for inputs of the shapes that it was recorded with."""
        return self._run(*inputs, *self.captured)

    def is_current(self, inputs: Sequence[Tensor]) -> bool:
        """Return whether the modules, and the kind of inputs, are those that the graph was recorded with."""
        try:
            return self._look(inputs) == self._state
        except (KeyError, RuntimeError):
            # An attribute is gone; two different tensors do not compare to one truth value.
            return False

    def _look(self, inputs: Sequence[Tensor]) -> list[Any]:
        # In every step, between products that empty the processor's cache: touches as few objects as can be.
        attributes = [values(own) for values, own in zip(self._values, self._attributes, strict=True)]
        filled = [tuple(part.values()) for part in self._filled]
        lengths = [*map(len, self._attributes), *map(len, self._parts)]
        captured = [(t.dtype, t.device, t.requires_grad) for t in self.captured]
        given = [(t.shape, t.dtype, t.device) for t in inputs]
        return [attributes, filled, lengths, captured, given]


def _own_names(attributes: dict[str, Any]) -> list[str]:
    """Return the names of a module's mode and of what it has beside an empty module's attributes."""
    return ["training", *attributes.keys() - vars(nn.Module()).keys()]


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
    for name in {node.target for node in nodes if node.op == "get_attr"}:
        delattr(graph, name)  # a compiler takes a graph's tensors as inputs too, used or not
    graph.recompile()
    return captured


def _tolerance(graph: GraphModule) -> float:
    values = (node.meta.get("val") for node in graph.graph.nodes)
    dtypes = {value.dtype for value in values if isinstance(value, Tensor)}
    if torch.bfloat16 in dtypes:
        return COARSE_TOLERANCE
    return max((TOLERANCE[dtype] for dtype in dtypes & set(TOLERANCE)), default=TOLERANCE[torch.float32])


def difference(expected: Sequence[Tensor], got: Sequence[Tensor]) -> float:
    """Return the largest difference of two tensors, relative to the size of the expected one.

    One that is tiny beside the others is measured by a thousandth of the largest: it may be all rounding.
    """
    pairs = [(a.double(), b.double()) for a, b in zip(expected, got, strict=True)]
    sizes = [float(torch.linalg.vector_norm(a)) for a, _ in pairs]
    gaps = [float(torch.linalg.vector_norm(a - b)) for a, b in pairs]
    if not all(map(math.isfinite, gaps)):
        return math.inf
    floor = 1e-3 * max(sizes) + 1e-30
    return max(gap / max(size, floor) for gap, size in zip(gaps, sizes, strict=True))
