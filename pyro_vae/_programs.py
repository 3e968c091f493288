"""Base class of models and guides: modules that are Pyro programs."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any, ClassVar

import pyro
import torch
from pyro.params import param_with_module_name
from pyro.poutine.messenger import Messenger
from pyro.poutine.runtime import am_i_wrapped
from torch import Tensor, nn

from pyro_vae._compat import give_local_state
from pyro_vae._float32 import float32_convolutions
from pyro_vae._pickling import Picklable

__all__ = [
    "Program",
    "evaluation_mode",
    "local_parameters",
    "parameters_of",
    "restore_devices",
    "training_mode",
]

_names: weakref.WeakKeyDictionary[nn.Module, str] = weakref.WeakKeyDictionary()
_numbers = itertools.count()


def _unique_name(module: nn.Module) -> str:
    """Return a name unique to the instance; copies and reloaded modules get other names."""
    if module not in _names:
        _names[module] = f"{type(module).__name__}_{next(_numbers)}"
    return _names[module]


class Program(Picklable):
    """An `nn.Module` whose call is a Pyro program.

    A call registers the parameters with Pyro, so that `pyro.infer.SVI` trains them, under a name unique to the
    instance. With a fixed name, a second instance or a deepcopy would silently not be trained, because Pyro's store
    would return the parameters of the first.
    """

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        # Inside `local_parameters` registration has no effect, and would take a third of the handlers' time.
        if am_i_wrapped() and not _OwnParameters.active:
            name = _unique_name(self)
            for parameter_name, parameter in self.named_parameters():
                if parameter.requires_grad:
                    pyro.param(param_with_module_name(name, parameter_name), parameter)
        return super().__call__(*args, **kwargs)


class _OwnParameters(Messenger):
    """Return a module's parameter for `pyro.param` without Pyro's store."""

    active: ClassVar[int] = 0
    """Number of active instances, for all threads, like Pyro's stack of handlers."""

    def __enter__(self) -> Any:
        _OwnParameters.active += 1
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        _OwnParameters.active -= 1
        super().__exit__(*error)

    def _pyro_param(self, msg: Any) -> None:
        initial = msg["args"][1] if len(msg["args"]) > 1 else None
        if isinstance(initial, nn.Parameter):
            msg["value"] = initial
            msg["done"] = True


@contextmanager
def local_parameters() -> Iterator[None]:
    """Run Pyro programs on the parameters of their modules, without changing Pyro's store.

    Validation of sites is off inside; data is checked once at the entry.
    """
    with pyro.settings.context(module_local_params=True), pyro.validation_enabled(False), _OwnParameters():
        yield


def parameters_of(model: Any, guide: Any, *data: Tensor) -> list[Tensor]:
    """Return all trainable parameters: those of modules, and those of `pyro.param` statements in plain functions.

    Shared parameters are listed once. Functions are run once on `data` to find their parameters; the random state is
    restored.
    """
    found: dict[int, Tensor] = {}
    for program in (model, guide):
        if isinstance(program, nn.Module):
            found |= {id(p): p for p in program.parameters() if p.requires_grad}
    devices = sorted({t.device.index or 0 for t in data if t.is_cuda})
    with torch.random.fork_rng(devices=devices), local_parameters(), torch.no_grad():
        for program in (guide, model):
            if not isinstance(program, nn.Module) or isinstance(program, pyro.nn.PyroModule):
                give_local_state(program)
                found |= {id(p): p for p in _traced_parameters(program, *data)}
    return list(found.values())


def _traced_parameters(program: Any, *data: Tensor) -> list[Tensor]:
    trace = pyro.poutine.trace(program).get_trace(*data)
    values = [trace.nodes[name]["value"] for name in trace.param_nodes]
    return [v if isinstance(v, nn.Parameter) else v.unconstrained() for v in values]


@contextmanager
def evaluation_mode(*programs: Any) -> Iterator[None]:
    """Put modules into evaluation mode inside the block, with float32 convolutions.

    With dropout or batch statistics the density of a row is not defined.
    """
    modules = [m for p in programs if isinstance(p, nn.Module) for m in p.modules() if m.training]
    for module in modules:
        module.training = False
    try:
        with float32_convolutions():
            yield
    finally:
        for module in modules:
            module.training = True


@contextmanager
def training_mode(programs: nn.Module) -> Iterator[None]:
    """Put a module into training mode inside the block, and into evaluation mode afterwards."""
    programs.train()
    try:
        yield
    finally:
        programs.eval()


@contextmanager
def restore_devices(*programs: Callable[..., Any]) -> Iterator[None]:
    """Move modules back to their current device at the end of the block."""
    modules = [program for program in programs if isinstance(program, nn.Module)]
    tensors = [next(chain(module.parameters(), module.buffers()), torch.empty(0)) for module in modules]
    devices = [tensor.device for tensor in tensors]
    try:
        yield
    finally:
        for module, device in zip(modules, devices, strict=True):
            module.to(device)
