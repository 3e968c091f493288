"""Inputs of programs: their number, precision and device."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor, nn

from pyro_vae._checks import check
from pyro_vae._context import ContextRange, context_range_of
from pyro_vae.data.entry import Entry

__all__ = ["accepted_inputs", "entry_for"]


def entry_for(*programs: Callable[..., Any]) -> Entry:
    """Return the data conversion for programs that are called with the same data.

    Programs of this package ignore context that their networks do not take, so a guide of (x, y) can be used with a
    model of x.

    Raises:
        InputError: If they take different inputs.
    """
    ranges = [context_range_of(program) for program in programs]
    least, most = 1 + max(one.least for one in ranges), 1 + _most_used(ranges)
    check(
        least <= most,
        f"Expected model and guide to take the same inputs; one needs {least} (x and context) and the other takes "
        f"{most:g}. Give both the same arguments, used or not.",
    )
    modules = [module for program in programs for module in _modules(program)]
    first = next((t for module in modules for t in _tensors(module) if t.is_floating_point()), None)
    dtype, device = (None, None) if first is None else (first.dtype, first.device)
    return Entry(least, most, dtype, device, _image_shapes(modules))


def _image_shapes(modules: list[nn.Module]) -> tuple[tuple[int, ...], ...]:
    """Return the image shapes, channels first, of networks with an attribute `data_shape`."""
    shapes = [getattr(part, "data_shape", None) for module in modules for part in module.modules()]
    return tuple(shape for shape in shapes if isinstance(shape, tuple) and len(shape) == 3)


def _most_used(ranges: list[ContextRange]) -> float:
    """Return the maximum number of context tensors that programs use."""
    strict = min((one.most for one in ranges if not one.ignores_more), default=math.inf)
    used = max((one.most for one in ranges if one.ignores_more), default=math.inf)
    return used if math.isinf(strict) else strict


def accepted_inputs(program: Callable[..., Any]) -> tuple[int, float]:
    """Return the minimum and maximum number of positional inputs of a program, including x."""
    least, most, _ = context_range_of(program)
    return 1 + least, 1 + most


def _tensors(module: nn.Module) -> Iterator[Tensor]:
    yield from module.parameters()
    yield from module.buffers()


def _modules(program: Any) -> Iterator[nn.Module]:
    """Yield the modules that a program is or contains, or that a function refers to."""
    waiting, seen = [program], set[int]()
    while waiting:
        held = waiting.pop(0)
        if id(held) in seen:
            continue
        seen.add(id(held))
        if isinstance(held, nn.Module):
            yield held
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
