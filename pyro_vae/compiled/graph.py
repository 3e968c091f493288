"""The traced tensor operations of a function of modules, compiled by a backend."""

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
from pyro_vae.compiled.softplus import with_few_logarithms

__all__ = ["Backend", "Graph", "Operations", "difference", "inductor", "trace", "uncompiled"]

TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-9}
"""Relative tolerance of gradients, for sums in another order."""
COARSE_TOLERANCE = 3e-2
"""The same for products rounded to bfloat16."""
MIN_CHUNK_SIZE = 2**15
"""Minimum number of entries per thread in pointwise operations."""

Backend = Callable[[GraphModule, list[Tensor]], Callable[..., Sequence[Tensor]]]
"""Function from a traced graph and example inputs to a function of the inputs."""


def uncompiled(graph: GraphModule, inputs: list[Tensor]) -> Callable[..., Sequence[Tensor]]:
    """Return the graph itself: the traced operations, without Pyro's handlers."""
    return graph


def inductor(graph: GraphModule, inputs: list[Tensor]) -> Callable[..., Sequence[Tensor]]:
    """Return the graph compiled by TorchInductor, called with flat tensors and without guards.

    On a GPU it is recorded as a CUDA graph, since kernel launches dominate for small networks.
    """
    # fallback_random: torch's generators, so that the noise of a seed is the same with and without compiling.
    # compile_threads: starting a pool of compiling processes takes longer than it saves.
    # cpp_wrapper: one C++ function, which compiles and runs faster than separate kernels.
    # min_chunk_size: threads synchronize, so only large tensors are divided among them.
    # reorder_for_peak_memory: on a GPU it would reorder operations that draw noise.
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
    if not on_gpu:
        with_few_logarithms(graph)
    for node in graph.graph.nodes:
        node.meta.clear()  # example tensors of the trace, which differ from those of the compilation
        if node.target is torch.ops.aten.view.default:
            node.target = (
                torch.ops.aten.reshape.default
            )  # the memory layout may differ from that of the trace
    with torch.no_grad():
        compiled = compile_graph(graph, inputs, settings)
    return _replayed(compiled) if on_gpu else compiled


def _replayed(compiled: Callable[..., Sequence[Tensor]]) -> Callable[..., Sequence[Tensor]]:
    """Return a function that copies its results, since the next run of a CUDA graph overwrites them."""

    def run(*inputs: Tensor) -> Sequence[Tensor]:
        torch.compiler.cudagraph_mark_step_begin()
        return [result.clone() for result in compiled(*inputs)]

    return run


class Operations(NamedTuple):
    """The tensor operations of a function."""

    run: Callable[..., Sequence[Tensor]]
    """Function of the inputs and the captured tensors."""
    captured: list[Tensor]
    """Tensors that the operations read besides the inputs: parameters, buffers, constants."""
    tolerance: float
    """Relative tolerance of results."""


def trace(
    function: Callable[..., Sequence[Tensor]], inputs: Sequence[Tensor], backend: Backend
) -> Operations:
    """Trace and compile the operations of a function.

    Args:
        function: Function from tensors to tensors; called once.
        inputs: Its inputs.
        backend: The compiler of the graph.
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
    """The tensor operations of a function, with the state of the modules for which they are valid.

    Parameters and buffers are read and written in place.

    Args:
        module: The module that the function runs.
        inputs: Inputs of the function.
        operations: Operations of the function, from `trace` or the cache.
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
        """Return the results of the function, for inputs of the traced shapes."""
        return self._run(*inputs, *self.captured)

    def is_current(self, inputs: Sequence[Tensor]) -> bool:
        """Return whether modules and kinds of inputs are those of the trace."""
        try:
            return self._look(inputs) == self._state
        except (KeyError, RuntimeError):
            # An attribute was removed; or tensors were compared, which gives no single truth value.
            return False

    def _look(self, inputs: Sequence[Tensor]) -> list[Any]:
        # Runs in every step, with a cold cache: touches as few objects as possible.
        attributes = [values(own) for values, own in zip(self._values, self._attributes, strict=True)]
        filled = [tuple(part.values()) for part in self._filled]
        lengths = [*map(len, self._attributes), *map(len, self._parts)]
        captured = [(t.dtype, t.device, t.requires_grad) for t in self.captured]
        given = [(t.shape, t.dtype, t.device) for t in inputs]
        return [attributes, filled, lengths, captured, given]


def _own_names(attributes: dict[str, Any]) -> list[str]:
    """Return the names of a module's mode and of its attributes that an empty module does not have."""
    return ["training", *attributes.keys() - vars(nn.Module()).keys()]


def _lift(graph: GraphModule) -> list[Tensor]:
    """Turn the tensors of a graph (parameters, buffers, constants) into inputs, and return them."""
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
        delattr(graph, name)  # a compiler would add all tensors of a graph as inputs
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

    Tensors smaller than a thousandth of the largest are compared relative to that, since they may be rounding errors.
    """
    pairs = [(a.double(), b.double()) for a, b in zip(expected, got, strict=True)]
    sizes = [float(torch.linalg.vector_norm(a)) for a, _ in pairs]
    gaps = [float(torch.linalg.vector_norm(a - b)) for a, b in pairs]
    if not all(map(math.isfinite, gaps)):
        return math.inf
    floor = 1e-3 * max(sizes) + 1e-30
    return max(gap / max(size, floor) for gap, size in zip(gaps, sizes, strict=True))
