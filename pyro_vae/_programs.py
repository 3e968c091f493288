"""What a model and a guide share: modules that are Pyro programs."""

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
]

_names: weakref.WeakKeyDictionary[nn.Module, str] = weakref.WeakKeyDictionary()
_numbers = itertools.count()


def _unique_name(module: nn.Module) -> str:
    """Return a name that this instance alone has: a copy or a reloaded module gets another."""
    if module not in _names:
        _names[module] = f"{type(module).__name__}_{next(_numbers)}"
    return _names[module]


class Program(Picklable):
    """An `nn.Module` whose call is a Pyro program.

    Under Pyro's handlers a call offers the parameters to Pyro, so that `pyro.infer.SVI` trains them, under a
    name unique to the instance: with one fixed name the second instance of a process, or a deepcopy, would
    silently stand still, because Pyro's store would answer with the first one's parameters.
    """

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        # Inside `local_parameters` each offer would be answered with the parameter itself, for a third of the
        # handlers' time.
        if am_i_wrapped() and not _OwnParameters.active:
            name = _unique_name(self)
            for parameter_name, parameter in self.named_parameters():
                if parameter.requires_grad:
                    pyro.param(param_with_module_name(name, parameter_name), parameter)
        return super().__call__(*args, **kwargs)


class _OwnParameters(Messenger):
    """Answers `pyro.param` for a module's parameter with that parameter; Pyro's store does not see it."""

    active: ClassVar[int] = 0
    """How many are entered; Pyro's stack of handlers is one for all threads, and so is this."""

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
    """Run Pyro programs on the parameters of their own modules, leaving Pyro's store and checks as they were.

    Validation of each site is off inside: data is checked once, where it enters.
    """
    with pyro.settings.context(module_local_params=True), pyro.validation_enabled(False), _OwnParameters():
        yield


def parameters_of(model: Any, guide: Any, *data: Tensor) -> list[Tensor]:
    """Return all that can be trained: the modules' parameters, and what plain functions get by `pyro.param`.

    Each tensor stands once, also where model and guide share it. Functions are run once on `data` to see
    their parameters; the random state is put back.
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
    """Put modules into evaluation mode and back, with convolutions in float32.

    Under dropout or batch statistics a row has no density.
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
def restore_devices(*programs: Callable[..., Any]) -> Iterator[None]:
    """Put modules back on the device that they are on now: rows to score lie there, more often than not."""
    modules = [program for program in programs if isinstance(program, nn.Module)]
    tensors = [next(chain(module.parameters(), module.buffers()), torch.empty(0)) for module in modules]
    devices = [tensor.device for tensor in tensors]
    try:
        yield
    finally:
        for module, device in zip(modules, devices, strict=True):
            module.to(device)
