"""Sums of Bernoulli log-probabilities with one logarithm for many entries.

`softplus(l) = max(l, 0) + log(1 + exp(-|l|))`, and the sum of the logarithms is the logarithm of a product of numbers
between 1 and 2. Up to `MOST_FACTORS` of them do not overflow in float32, and the logarithm is the slower half of
softplus. All sums and the product run over the same entries, so that TorchInductor makes one pass over the logits.

Nanoseconds per entry of 625 x 784 logits, bias added and summed, one thread, Intel Xeon 2.5 GHz with AVX-512, minimum
of 15 rounds: softplus 3.1, this 1.1.
"""

from __future__ import annotations

import math
from typing import Any, cast

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

__all__ = ["with_few_logarithms"]

aten = torch.ops.aten
LANES = 16
"""Entries of a vector register; the number of products is a multiple of it."""
MOST_FACTORS = 100
"""Maximum number of factors, each at most 2, of a product in float32, whose largest number is 2^128."""


def with_few_logarithms(graph: GraphModule) -> None:
    """Rewrite the sums over the last dimension of `value logits - softplus(logits)` in a traced graph.

    The log-probability is that of `LogitBernoulli.log_prob` without gradients. Sums over a number of entries that is
    not a multiple of `LANES` are unchanged.
    """
    for node in list(graph.graph.nodes):
        chain = _chain(node)
        if chain is None:
            continue
        _, value, logits = cast(Any, chain[-3].args)
        num_products = _num_products(_shape(logits)[-1])
        if num_products is not None and _shape(value)[-1:] == _shape(logits)[-1:]:
            with graph.graph.inserting_before(node):
                node.replace_all_uses_with(_sum(graph, value, logits, num_products))
            for replaced in chain:
                graph.graph.erase_node(replaced)
    graph.recompile()


def _chain(node: Node) -> list[Node] | None:
    """Return sum, view, `addcmul_(value, logits)`, `neg_` and softplus of the same logits; None for other nodes.

    The view is left out where there is none.
    """
    if node.target is not aten.sum.dim_IntList or node.args[1:] != ([-1],) or node.kwargs:
        return None
    chain = [node]

    def follow(target: Any, num_arguments: int) -> bool:
        before = cast(Node, chain[-1].args[0])
        chain.append(before)
        known = before.target is target and len(before.args) == num_arguments
        return known and not before.kwargs and len(before.users) == 1

    reshaped = cast(Node, node.args[0])
    if reshaped.target is aten.view.default and _shape(reshaped) == _shape(reshaped.args[0]):
        follow(aten.view.default, 2)
    wanted = ((aten.addcmul_.default, 3), (aten.neg_.default, 1), (aten.softplus.default, 1))
    if not all(follow(*of) for of in wanted) or chain[-3].args[2] is not chain[-1].args[0]:
        return None
    return chain


def _num_products(num_entries: int) -> int | None:
    """Return the smallest number of products, a multiple of `LANES`, for so many entries; None without one."""
    if num_entries % LANES:
        return None
    numbers = range(LANES, num_entries + 1, LANES)
    return next(n for n in numbers if num_entries % n == 0 and num_entries // n <= MOST_FACTORS)


def _sum(graph: GraphModule, value: Node, logits: Node, num_products: int) -> Node:
    """Return the sum of the log-probabilities over the last dimension."""

    def call(target: Any, *arguments: Any) -> Node:
        return graph.graph.call_function(target, arguments)

    def in_rows(node: Node) -> Node:
        *leading, entries = _shape(node)
        return call(aten.reshape.default, node, [*leading, entries // num_products, num_products])

    logits, value = in_rows(logits), in_rows(value)
    # exp2: TorchInductor would write the results of exp, which are used twice, to memory.
    scaled = call(aten.mul.Scalar, call(aten.abs.default, logits), -1 / math.log(2))
    small = call(aten.exp2.default, scaled)
    factor = call(aten.add.Scalar, small, 1.0)
    # What rounding takes from a factor, which matters where logits are large: log(1 + a) - log(fl(1 + a)).
    rest = call(aten.sub.Tensor, small, call(aten.sub.Scalar, factor, 1.0))
    linear = call(aten.sub.Tensor, call(aten.mul.Tensor, value, logits), call(aten.relu.default, logits))
    sums = call(aten.sum.dim_IntList, call(aten.sub.Tensor, linear, rest), [-2])
    logarithms = call(aten.log.default, call(aten.prod.dim_int, factor, -2))
    return call(aten.sum.dim_IntList, call(aten.sub.Tensor, sums, logarithms), [-1])


def _shape(node: Any) -> tuple[int, ...]:
    tensor: Tensor = node.meta["val"]
    return tuple(tensor.shape)
