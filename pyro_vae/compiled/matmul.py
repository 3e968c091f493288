"""Matrix products of a graph by the fastest library that torch includes: MKL on Intel processors, oneDNN on others.

torch multiplies float32 matrices on the CPU by MKL, which uses half of the vector units of an AMD processor. oneDNN
uses all of them, but needs 30 to 100 microseconds per product to prepare. TorchInductor calls oneDNN for constant
weights only, as in inference; here also for weights that are trained.

Microseconds of the products of one step, one thread, Intel Xeon 2.5 GHz with AVX-512: 784-400-20, batch 128, MKL 3456,
oneDNN 4345; 784-200-200-50, batch 100, MKL 2131, oneDNN 3141.
"""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from pyro_vae._compat import linear_pointwise, lower_to_onednn

__all__ = ["lower_linear", "lower_products", "through_onednn", "without_bias"]

SMALL = 900_000
"""Number of multiplications up to which oneDNN's overhead exceeds its gain."""

ACTIVATIONS = {torch.ops.aten.tanh.default: "tanh", torch.ops.aten.relu.default: "relu"}
"""Activations that oneDNN can fuse with a product."""

_library = torch.library.Library("pyro_vae", "DEF")
_library.define("linear(Tensor x, Tensor weight, Tensor? bias, str activation) -> Tensor")


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None, activation: str) -> Tensor:
    """Return `activation(x @ weight.T + bias)` for x of shape (N, K) and weight of shape (M, K)."""
    linear = linear_pointwise()
    assert linear is not None, "a graph is changed only where there is such a kernel"
    return linear(x, weight, bias, activation, [], "")


_library.impl("linear", _linear, "CPU")
torch.library.register_fake(
    "pyro_vae::linear",
    lambda x, weight, bias, activation: x.new_empty(x.shape[0], weight.shape[0]),
    lib=_library,
)


def lower_products(graph: GraphModule) -> None:
    """Prepare the float32 matrix products on the CPU in a traced graph for the faster library."""
    if has_fast_mkl():
        without_bias(graph)
    else:
        through_onednn(graph)


@cache
def has_fast_mkl() -> bool:
    """Return whether MKL is available and the processor is an Intel processor."""
    known = Path("/proc/cpuinfo")  # Linux; on other systems Python knows the name
    name = known.read_text(encoding="utf-8", errors="replace") if known.exists() else platform.processor()
    return torch.backends.mkl.is_available() and "GenuineIntel" in name


def without_bias(graph: GraphModule) -> None:
    """Replace `c + a @ b` by a product and a sum, which TorchInductor fuses with the operations that follow.

    With the sum in the product, MKL first needs a copy of c in each row of its output.
    """
    aten = torch.ops.aten
    for node in list(graph.graph.nodes):
        if node.target is aten.addmm.default and not node.kwargs and _applies(node, above=0):
            bias, a, b = node.args
            with graph.graph.inserting_before(node):
                product = graph.graph.call_function(aten.mm.default, (a, b))
                # a @ b - (-c): TorchInductor would turn a sum into one product again.
                negative = graph.graph.call_function(aten.neg.default, (bias,))
                total = graph.graph.call_function(aten.sub.Tensor, (product, negative))
            negative.meta.update(bias.meta, val=-bias.meta["val"])
            for added in (product, total):
                added.meta.update(node.meta)
            node.replace_all_uses_with(total)
            graph.graph.erase_node(node)
    graph.recompile()


def through_onednn(graph: GraphModule) -> None:
    """Replace the float32 matrix products on the CPU, `a @ b` and `c + a @ b`, in a traced graph.

    An activation that is the only user of a product is fused with it.
    """
    if linear_pointwise() is None:
        return
    aten = torch.ops.aten
    for node in list(graph.graph.nodes):
        if node.target in (aten.mm.default, aten.addmm.default) and not node.kwargs and _applies(node, SMALL):
            *bias, a, b = node.args
            with graph.graph.inserting_before(node):
                a, b = _dense(a), _dense(b)
                transposed = graph.graph.call_function(aten.t.default, (b,))
                applied = [user for user in node.users if user.target in ACTIVATIONS and len(node.users) == 1]
                activation = ACTIVATIONS[applied[0].target] if applied else "none"
                arguments = (a, transposed, bias[0] if bias else None, activation)
                linear = graph.graph.call_function(torch.ops.pyro_vae.linear.default, arguments)
            linear.meta.update(node.meta)
            for replaced in (*applied, node):
                replaced.replace_all_uses_with(linear)
                graph.graph.erase_node(replaced)
    graph.recompile()


def _applies(node: Node, above: int) -> bool:
    """Return whether a node is a float32 product on the CPU, with at most one row added, of enough multiplications."""
    value, *given = (of.meta["val"] for of in (node, *node.args) if isinstance(of, Node))
    one_row = all(added.ndim == 1 for added in given[:-2])
    on_cpu = value.dtype == torch.float32 and value.device.type == "cpu"
    return on_cpu and one_row and value.numel() * given[-1].shape[0] > above


def _dense(matrix: Node) -> Node:
    """Return the matrix, copied if its memory is not dense, as for a slice of columns.

    For matrices that are not dense, oneDNN uses its reference implementation, which is 100 times slower.
    """
    value = matrix.meta["val"]
    (rows, columns), strides = value.shape, value.stride()
    if strides in ((columns, 1), (1, rows)):
        return matrix
    copy = matrix.graph.call_function(
        torch.ops.aten.clone.default, (matrix,), {"memory_format": torch.contiguous_format}
    )
    copy.meta.update(matrix.meta, val=value.contiguous())
    return copy


@cache
def lower_linear() -> None:
    """Make TorchInductor call oneDNN's kernel directly, without Python and the dispatcher."""
    lower_to_onednn(torch.ops.pyro_vae.linear.default)
