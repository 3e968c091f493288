"""What two programs take: how many inputs, in which precision, on which device."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor, nn

from pyro_vae._checks import check
from pyro_vae.data.entry import Entry

__all__ = ["accepted_inputs", "entry_for", "entry_of_rows"]


def entry_for(*programs: Callable[..., Any]) -> Entry:
    """Return the entry for the data that all of these programs are called with.

    Raises:
        InputError: If they take different inputs.
    """
    ranges = [accepted_inputs(program) for program in programs]
    least, most = max(one[0] for one in ranges), min(one[1] for one in ranges)
    check(
        least <= most,
        f"Expected model and guide to take the same inputs; one needs {least} (x and context) and the other takes "
        f"{most:g}. Give both the same arguments, used or not.",
    )
    tensors = (t for program in programs for t in _tensors(program) if t.is_floating_point())
    first = next(tensors, None)
    if first is None:
        return Entry(least, most)
    return Entry(least, most, first.dtype, first.device)


def entry_of_rows(program: Callable[..., Any]) -> Entry:
    """Return the entry for rows alone, without context, in the precision and on the device of a program."""
    entry = entry_for(program)
    return Entry(1, 1, entry.dtype, entry.device)


def accepted_inputs(program: Callable[..., Any]) -> tuple[int, float]:
    """Return the least and the largest number of inputs that a program takes by position, at least 1.

    An argument with a default other than None is a setting and no input.
    """
    target = program.forward if isinstance(program, nn.Module) else program
    try:
        parameters = inspect.signature(target).parameters.values()
    except (TypeError, ValueError):  # a callable without a signature
        return 1, math.inf
    empty = inspect.Parameter.empty
    by_position = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    inputs = [p for p in by_position if p.default is empty or p.default is None]
    least = sum(p.default is empty for p in inputs)
    any_number = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    return max(1, least), math.inf if any_number else max(1, len(inputs))


def _tensors(program: Any) -> Iterator[Tensor]:
    """Yield the parameters and buffers that a program holds, or that a function sees from outside."""
    waiting, seen = [program], set[int]()
    while waiting:
        held = waiting.pop(0)
        if id(held) in seen:
            continue
        seen.add(id(held))
        if isinstance(held, nn.Module):
            yield from held.parameters()
            yield from held.buffers()
        else:
            waiting += _held(held)


def _held(program: Any) -> list[Any]:
    """Return the modules and functions that a plain callable may call."""
    held: list[Any] = []
    if isinstance(program, functools.partial):
        held = [program.func, *program.args, *program.keywords.values()]
    elif inspect.ismethod(program):
        held = [program.__self__, program.__func__]
    elif inspect.isfunction(program):
        outside = inspect.getclosurevars(program)
        held = [*outside.nonlocals.values(), *outside.globals.values()]
    elif hasattr(program, "__dict__") and not inspect.ismodule(program) and not inspect.isclass(program):
        held = list(vars(program).values())
    return [one for one in held if isinstance(one, nn.Module | functools.partial) or _is_user_function(one)]


def _is_user_function(held: Any) -> bool:
    package = (getattr(held, "__module__", None) or "").partition(".")[0]
    return inspect.isroutine(held) and package not in ("pyro", "torch")
