"""Entries that a mask picks, in a graph whose tensors all have fixed shapes."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

__all__ = ["without_picking"]

aten = torch.ops.aten
PUT = (aten.index_put.default, aten.index_put_.default)


def without_picking(graph: GraphModule) -> None:
    """Write `a[mask] = b[mask]` and `a[mask] = 0` in a traced graph as `where(mask, b, a)`, in place where it was.

    How many entries a mask picks is known only when it runs, and a compiler wants to know before. Splines are written
    so, and the gradient of `b[mask]` is: it adds to zeros.
    """
    for node in list(graph.graph.nodes):
        if node.target in PUT and _is_by_mask(*node.args[:2]):
            _put_everywhere(graph, node)
    for node in reversed(list(graph.graph.nodes)):
        if node.target is aten.index.Tensor and _is_by_mask(*node.args):
            _forget(graph, node)
    graph.recompile()


def _is_by_mask(of: Any, indices: Any) -> bool:
    """Return whether a tensor is indexed by one of bools, of its own shape."""
    if len(indices) != 1 or indices[0] is None:
        return False
    mask: Tensor = indices[0].meta["val"]
    return mask.dtype == torch.bool and mask.shape == of.meta["val"].shape


def _put_everywhere(graph: GraphModule, node: Node) -> None:
    to, (mask,), picked, *accumulate = cast(Any, node.args)
    everywhere = _before_picking(picked, mask)
    if everywhere is None:
        return

    def call(target: Any, *arguments: Any) -> Node:
        new = graph.graph.call_function(target, arguments)
        new.meta.update(node.meta)
        return new

    with graph.graph.inserting_before(node):
        if everywhere == 0:
            put = to if accumulate == [True] else call(aten.masked_fill.Scalar, to, mask, 0)
        elif accumulate == [True]:
            put = call(aten.add.Tensor, to, call(aten.where.ScalarOther, mask, everywhere, 0))
        else:
            put = call(aten.where.self, mask, everywhere, to)
        if node.target is aten.index_put_.default:
            put = call(aten.copy_.default, to, put)
    node.replace_all_uses_with(put)
    graph.graph.erase_node(node)


def _before_picking(picked: Node, mask: Node) -> Node | int | None:
    """Return the tensor that the mask picked from, 0 where zeros are put; None where neither is so."""
    if picked.target is aten.zeros.default:
        return 0
    if picked.target is not aten.index.Tensor:
        return None
    source, indices = cast(Any, picked.args)
    return cast(Node, source) if _is_by_mask(source, indices) and _same(indices[0], mask) else None


def _same(mask: Node, other: Node) -> bool:
    # `a[x > 0] = b[x > 0]` compares twice. Should x have changed in between, the replay is found to disagree.
    return mask is other or (mask.target, mask.args, mask.kwargs) == (other.target, other.args, other.kwargs)


def _forget(graph: GraphModule, picked: Node) -> None:
    """Erase what a mask picked, where at most its dtype and device are still asked for."""
    for user in list(picked.users):
        if user.target is aten.new_zeros.default:
            user.replace_input_with(picked, cast(Node, picked.args[0]))
    if not picked.users:
        graph.graph.erase_node(picked)
