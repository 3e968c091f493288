"""Observation and recording of tensor operations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule

__all__ = [
    "observe_operations",
    "observe_tensors",
    "record",
]


@contextmanager
def observe_tensors(see: Callable[[Tensor], None]) -> Iterator[None]:
    """Call `see` with every tensor that operations create inside, except views.

    Without the name, `see` gets the results of torch's Python functions, including views, without intermediate tensors.
    """
    with _tensor_observer()(see):
        yield


def _tensor_observer() -> type[Any]:
    """Return the dispatch mode of `observe_tensors`."""
    mode = _operation_observer()
    if mode is None:
        return _Functions

    class Operations(mode):  # type: ignore[misc, valid-type]
        def __init__(self, see: Callable[[Tensor], None]) -> None:
            super().__init__(
                lambda operator, args, kwargs, result: None if operator.is_view else _show(result, see)
            )

    return Operations


@contextmanager
def observe_operations(see: Callable[[Any, tuple[Any, ...], dict[str, Any], Any], None]) -> Iterator[bool]:
    """Call `see(operator, args, kwargs, result)` after every operation inside, including backward passes.

    Yields False, and observes nothing, without the name.
    """
    mode = _operation_observer()
    if mode is None:
        yield False
        return
    with mode(see):
        yield True


def _operation_observer() -> type[Any] | None:
    try:
        from torch.utils._python_dispatch import TorchDispatchMode
    except ImportError:
        return None

    class Operations(TorchDispatchMode):
        def __init__(self, see: Callable[[Any, tuple[Any, ...], dict[str, Any], Any], None]) -> None:
            super().__init__()
            self.see = see

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = func(*args, **(kwargs or {}))
            self.see(func, args, kwargs or {}, result)
            return result

        @classmethod
        def _should_skip_dynamo(cls) -> bool:
            return False  # skipping would import Dynamo, which takes 1.4 s

    return Operations


class _Functions(torch.overrides.TorchFunctionMode):
    def __init__(self, see: Callable[[Tensor], None]) -> None:
        super().__init__()
        self.see = see

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        _show(result, self.see)
        return result


def _show(result: Any, see: Callable[[Tensor], None]) -> None:
    for tensor in result if isinstance(result, tuple | list) else (result,):
        if isinstance(tensor, Tensor):
            see(tensor)


def record(function: Callable[..., Any], *inputs: Tensor) -> GraphModule:
    """Return the tensor operations of a function as a graph.

    Raises:
        NotImplementedError: Without `make_fx`, an experimental function; callers fall back to Pyro's handlers.
    """
    try:
        from torch.fx.experimental.proxy_tensor import make_fx
    except ImportError:
        raise NotImplementedError("this version of torch has no make_fx") from None
    with _one_fake_mode():
        graph: GraphModule = make_fx(function)(*inputs)
    return graph


@contextmanager
def _one_fake_mode() -> Iterator[None]:
    """Let `make_fx` describe all results inside by fake tensors of one mode.

    Otherwise it makes a mode for every result, with a copy of the call stack: a third of the time of a trace, and more
    of one below a deep stack, as in a test. Without the names it does so.
    """
    try:
        from torch._guards import TracingContext, tracing
        from torch._subclasses.fake_tensor import FakeTensorMode
    except ImportError:
        yield
        return
    with tracing(TracingContext(FakeTensorMode(allow_fallback_kernels=True))):
        yield
