"""Matrix products of a graph through oneDNN, which uses what the processor has.

torch multiplies float32 matrices on the CPU by MKL, which leaves half of an AMD processor's vector units idle;
oneDNN, which torch carries too, does not.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

__all__ = ["through_onednn"]

_library = torch.library.Library("pyro_vae", "DEF")
_library.define("linear(Tensor x, Tensor weight, Tensor? bias) -> Tensor")


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return `x @ weight.T + bias` for x of shape (N, K) and weight of shape (M, K)."""
    result: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return result


_library.impl("linear", _linear, "CPU")
torch.library.register_fake(
    "pyro_vae::linear", lambda x, weight, bias: x.new_empty(x.shape[0], weight.shape[0]), lib=_library
)


def through_onednn(graph: GraphModule) -> None:
    """Replace the float32 matrix products on the CPU, `a @ b` and `c + a @ b`, in a traced graph."""
    if not torch.backends.mkldnn.is_available():
        return
    aten = torch.ops.aten
    for node in list(graph.graph.nodes):
        if node.target in (aten.mm.default, aten.addmm.default) and not node.kwargs and _applies(node):
            *bias, a, b = node.args
            with graph.graph.inserting_before(node):
                transposed = graph.graph.call_function(aten.t.default, (b,))
                arguments = (a, transposed, bias[0] if bias else None)
                linear = graph.graph.call_function(torch.ops.pyro_vae.linear.default, arguments)
            linear.meta.update(node.meta)
            node.replace_all_uses_with(linear)
            graph.graph.erase_node(node)
    graph.recompile()


def _applies(node: Node) -> bool:
    value = node.meta["val"]
    bias = [first.meta["val"] for first in node.args[:-2] if isinstance(first, Node)]
    one_row = all(added.ndim == 1 for added in bias)
    return value.dtype == torch.float32 and value.device.type == "cpu" and one_row and value.numel() > 0
