"""Context: the number of context tensors that programs and networks take, and their batching.

Context is what model and guide are conditioned on besides x, such as labels: tensors with one entry per row.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from pyro_vae._checks import check
from pyro_vae._float32 import float32_convolutions

__all__ = [
    "ContextRange",
    "accepted_context",
    "context_range_of",
    "context_range_of_network",
    "joined_range",
    "label_by_row",
    "network_in_chunks",
    "positional_inputs",
    "row_by_row",
]


class ContextRange(NamedTuple):
    """Number of context tensors that a program or network takes."""

    least: int
    """Minimum number."""
    most: float
    """Number that it uses; `math.inf` for any number."""
    ignores_more: bool = False
    """Whether it accepts more than it uses."""


def context_range_of(called: Callable[..., Any], beside: int = 1) -> ContextRange:
    """Return the number of context tensors that a program takes.

    It is read from the signature: `forward(self, x)` takes none, `forward(self, x, y)` one. Modules that pass
    `*context` on to others have a property `context_range`.

    Args:
        called: A module or a function.
        beside: Number of inputs before the context: 1 for networks and programs, 0 for priors.
    """
    least, most = positional_inputs(called)
    own: ContextRange | None = getattr(called, "context_range", None) if math.isinf(most) else None
    return own or ContextRange(max(0, least - beside), max(0, most - beside))


def context_range_of_network(network: nn.Module, beside: int = 1) -> ContextRange:
    """Return the number of context tensors that a network takes; arguments as for `context_range_of`.

    A wrapper with `*args` around one network, such as that of `torch.compile`, takes what that network takes.
    """
    children = list(network.children())
    wraps = positional_inputs(network) == (0, math.inf) and not hasattr(network, "context_range")
    return context_range_of(network if len(children) != 1 or not wraps else children[0], beside)


def joined_range(*ranges: ContextRange) -> ContextRange:
    """Return the range of a program that passes to each of its networks the context that it takes."""
    return ContextRange(
        max((one.least for one in ranges), default=0), max((one.most for one in ranges), default=0), True
    )


def accepted_context(
    called: Callable[..., Any], context: tuple[Any, ...], beside: int = 1
) -> tuple[Any, ...]:
    """Return the leading context tensors that a program or network takes.

    Args:
        called: A program or network, see `context_range_of`.
        context: All context tensors.
        beside: Number of arguments before the context, see `context_range_of`.

    Raises:
        InputError: If it needs more tensors.
    """
    if isinstance(called, nn.Module):
        least, most, _ = context_range_of_network(called, beside)
    else:
        least, most, _ = context_range_of(called, beside)
    check(
        len(context) >= least,
        f"Expected {least} context tensors, which {type(called).__name__} takes; got {len(context)}. "
        "Pass them after x, as in `program(x, y)`.",
    )
    return context if len(context) <= most else context[: int(most)]


def row_by_row(network: nn.Module, inputs: Tensor, *context: Tensor) -> Tensor:
    """Return `network(inputs, *context)` with all leading dimensions flattened into one for the call.

    Networks with BatchNorm, convolutions or Flatten treat the first dimension as rows and the second as channels.

    Args:
        network: Network of (rows, features) and optionally context (rows, ...).
        inputs: Shape (..., N, features).
        context: Context (N, ...), the same for all leading dimensions; ignored if the network does not take it.
    """
    context = accepted_context(network, context)
    for number, part in enumerate(context):
        check(
            part.ndim > 0 and len(part) == inputs.shape[-2],
            f"Expected context {number + 1} with one entry for each of the {inputs.shape[-2]} rows; got shape "
            f"{tuple(part.shape)}.",
        )
    if inputs.ndim <= 2:
        return network(inputs, *context)
    leading = inputs.shape[:-1]
    joined = (part.expand(*leading, *part.shape[1:]).flatten(0, len(leading) - 1) for part in context)
    outputs: Tensor = network(inputs.flatten(0, -2), *joined)
    return outputs.reshape(*leading, *outputs.shape[1:])


def label_by_row(network: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
    """Return `network(inputs, labels)` with broadcasting of leading dimensions.

    Args:
        network: Network of (rows, features) and labels (rows,).
        inputs: Shape (..., N, features).
        labels: Shape (..., N).
    """
    shape = torch.broadcast_shapes(inputs.shape[:-1], labels.shape)
    rows = inputs.expand(*shape, -1).reshape(-1, inputs.shape[-1])
    outputs: Tensor = network(rows, labels.expand(shape).reshape(-1))
    return outputs.reshape(*shape, *outputs.shape[1:])


@torch.no_grad()
def network_in_chunks(network: nn.Module, inputs: Tensor, *context: Tensor, batch_size: int) -> Tensor:
    """Return `network(inputs, *context)` without gradients, computed `batch_size` rows at a time.

    Args:
        network: Network of (rows, features) and optionally context (rows, ...).
        inputs: Shape (N, features).
        context: Context (N, ...); ignored if the network does not take it.
        batch_size: Rows per chunk.
    """
    first = next(network.parameters(), None)
    if first is not None:
        inputs = inputs.to(first)
    columns = (part.split(batch_size) for part in (inputs, *accepted_context(network, context)))
    with float32_convolutions():
        return torch.cat([network(*chunk) for chunk in zip(*columns, strict=True)])


def positional_inputs(called: Callable[..., Any]) -> tuple[int, float]:
    """Return the minimum and maximum number of positional inputs of a module or function.

    Arguments with a default other than None are settings, not inputs.
    """
    forward = getattr(type(called), "forward", None) if isinstance(called, nn.Module) else None
    try:
        if inspect.isfunction(forward) and "forward" not in vars(called):
            least, most = _inputs_of(forward)
            return max(0, least - 1), max(0, most - 1)  # without self
        return _inputs_of.__wrapped__(called.forward if isinstance(called, nn.Module) else called)
    except (TypeError, ValueError):  # a callable without a signature, such as a traced module, with one input
        return 0, 0 if isinstance(called, nn.Module) else math.inf


@functools.lru_cache(maxsize=1024)
def _inputs_of(function: Callable[..., Any]) -> tuple[int, float]:
    parameters = inspect.signature(function).parameters.values()
    empty = inspect.Parameter.empty
    by_position = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    inputs = [p for p in by_position if p.default is empty or p.default is None]
    any_number = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    return sum(p.default is empty for p in inputs), math.inf if any_number else len(inputs)
