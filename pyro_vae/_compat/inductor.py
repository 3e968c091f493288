"""TorchInductor without Dynamo: compiling, its settings, and its shared libraries."""

from __future__ import annotations

import copy
import importlib.util
import logging
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule

__all__ = [
    "compile_graph",
    "inductor_settings",
    "loaded_libraries",
    "lower_to_onednn",
    "num_inputs_of_library",
    "open_library",
    "profile_kernels",
]


def compile_graph(
    graph: GraphModule, inputs: Sequence[Tensor], settings: dict[str, Any]
) -> Callable[..., Sequence[Tensor]]:
    """Return a graph compiled by TorchInductor without Dynamo and its guards; the graph itself without the names.

    Args:
        graph: Operations on tensors of fixed shapes.
        inputs: Its inputs, or tensors of the same kind.
        settings: Settings of TorchInductor.
    """
    try:
        from torch._inductor import compile as compiler
        from torch._inductor import config
    except ImportError:
        return graph
    compiled: Callable[..., Sequence[Tensor]]
    vectors = _known_vectors(config)
    if vectors:
        try:
            with config.patch(settings | vectors), _without_note_on_cuda():
                compiled = compiler(copy.deepcopy(graph), [*inputs])
            return compiled
        except (
            Exception
        ):  # a C++ compiler without these vectors: TorchInductor's tests find those that it has
            pass
    with config.patch(settings), _without_note_on_cuda():
        compiled = compiler(graph, [*inputs])
    return compiled


@contextmanager
def _without_note_on_cuda() -> Iterator[None]:
    """Leave out torch's note on a CUDA toolkit without a GPU, which does not concern a graph for the CPU."""
    logger = logging.getLogger("torch.utils.cpp_extension")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _known_vectors(config: Any) -> dict[str, Any]:
    """Return the setting by which TorchInductor does not test vectors with which torch itself was built.

    Each test compiles a file with torch's headers: 7 s of processor time for the three of AVX-512. Empty, so that
    the tests are made, without the setting, if the user has set it, or if torch runs without vectors.
    """
    is_open = getattr(getattr(config, "cpp", None), "vec_isa_ok", False) is None
    has_vectors = torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")
    return {"cpp.vec_isa_ok": True} if is_open and has_vectors else {}


@contextmanager
def profile_kernels() -> Iterator[None]:
    """Show the kernels of graphs compiled inside in `torch.profiler`; no effect without the setting."""
    try:
        from torch._inductor import config
    except ImportError:
        yield
        return
    if not hasattr(config.cpp, "enable_kernel_profile"):
        yield
        return
    with config.patch({"cpp.enable_kernel_profile": True}):
        yield


ENTRY = "inductor_entry_cpp"
"""Name of the function in a shared library of TorchInductor's C++ wrapper."""


def loaded_libraries() -> dict[str, Path]:
    """Return the files of shared libraries that TorchInductor has loaded, by module name.

    Empty if it uses other names; compiled graphs are then not cached.
    """
    modules = list(sys.modules.items())
    files = {name: module.__file__ for name, module in modules if name.endswith(f".{ENTRY}")}
    return {name: Path(file) for name, file in files.items() if file}


def num_inputs_of_library(path: Path) -> int | None:
    """Return the number of inputs of the graph in a shared library, from its source file; None if not found."""
    source = path.with_suffix(".cpp")
    if not source.is_file():
        return None
    found = re.findall(r"raii_handles\(input_handles, (\d+)\)", source.read_text(errors="replace"))
    return int(found[0]) if len(found) == 1 else None


def open_library(path: Path) -> Callable[..., Sequence[Tensor]] | None:
    """Return the graph in a shared library of TorchInductor; None without the names.

    Raises:
        ImportError: If the file is not such a library.
    """
    pack = getattr(torch._C._aoti, "unsafe_alloc_void_ptrs_from_tensors", None)
    unpack = getattr(torch._C._aoti, "alloc_tensors_by_stealing_from_void_ptrs", None)
    guards = getattr(getattr(torch._C, "_dynamo", None), "guards", None)
    pointer = getattr(guards, "_torchinductor_pyobject_tensor_data_ptr", None)
    spec = importlib.util.spec_from_file_location(f"{path.stem}.{ENTRY}", path)
    if pack is None or unpack is None or pointer is None or spec is None or spec.loader is None:
        return None
    os.environ["_TORCHINDUCTOR_PYOBJECT_TENSOR_DATA_PTR"] = str(pointer)  # read when the library is loaded
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    entry = getattr(module, ENTRY)

    def run(*inputs: Tensor) -> Sequence[Tensor]:
        results: Sequence[Tensor] = unpack(entry(pack([*inputs])))
        return results

    return run


def inductor_settings() -> str:
    """Return the changed settings of TorchInductor; empty if it is not loaded or has no such list."""
    config = sys.modules.get("torch._inductor.config")
    changed = getattr(config, "codegen_config", None)
    return changed() if changed is not None else ""


def lower_to_onednn(operator: Any) -> None:
    """Make TorchInductor call oneDNN's kernel for `operator(x, weight, bias, activation)` without the dispatcher.

    Without the names the operator is called through the dispatcher.
    """
    try:
        from torch._inductor import ir, lowering, mkldnn_ir

        kernel: Any = mkldnn_ir.LinearUnary
        create, lowerings = mkldnn_ir._create_output_node, lowering.lowerings
    except (ImportError, AttributeError):
        return

    def lower(x: Any, weight: Any, bias: Any, activation: str) -> Any:
        x, weight = kernel.require_contiguous(kernel.realize_input(x)), kernel.realize_input(weight)
        weight.freeze_layout()
        settings: list[Any] = [activation, [-1], ""]
        inputs = [x, weight]
        if bias is None:
            settings.insert(0, None)
        else:
            inputs.append(kernel.require_contiguous(kernel.realize_input(bias)))
        size = [x.get_size()[0], weight.get_size()[0]]
        layout = ir.FixedLayout(device=x.get_device(), dtype=x.get_dtype(), size=size)
        node = kernel(layout=layout, inputs=inputs, constant_args=settings)
        return ir.TensorBox.create(create(node))

    lowerings[operator] = lower
