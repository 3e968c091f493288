"""Adam as `fit` uses it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pyro_vae._compat import fused_adamw
from pyro_vae._layout import laid_out_as

__all__ = ["FusedAdamW"]


# torch wraps these in what keeps Dynamo from compiling them, and imports Dynamo for it: 1.4 s at every start.
_add_param_group = inspect.unwrap(torch.optim.Optimizer.add_param_group)
_state_dict = inspect.unwrap(torch.optim.Optimizer.state_dict)


class _Lists(NamedTuple):
    """Arguments of the kernel for one parameter group, for parameters with gradients."""

    present: list[bool]
    parameters: list[Tensor]
    averages: list[Tensor]
    squares: list[Tensor]
    steps: list[Tensor]
    counters: list[Tensor]


class FusedAdamW(torch.optim.AdamW):
    """`torch.optim.AdamW(fused=True)` with less overhead per step (Loshchilov & Hutter 2019, alg. 2).

    torch groups the parameters by device and dtype in each step and has a step counter for each. Here all parameters
    have one device and dtype, the groups are cached, and parameters with the same number of steps share a counter.
    Weights and state equal those of `torch.optim.AdamW` to the bit. Without torch's kernel, `torch.optim.AdamW` is
    used.

    Microseconds of a step that clips, medians of 15 interleaved rounds (minimum to maximum), one thread, torch 2.15:

    | network | this | `AdamW(fused=True)`, `grad_scale` set | `clip_grad_norm_`, `AdamW(fused=True)` |
    | --- | --- | --- | --- |
    | 64-64-5 | 36 (33 to 44) | 173 (159 to 205) | 429 (396 to 486) |
    | 784-400-20 | 806 (759 to 869) | 1049 (881 to 1232) | 1642 (1310 to 1937) |

    Args:
        parameters: The parameters to train.
        lr: Learning rate.
        weight_decay: Decoupled weight decay.
    """

    def __init__(self, parameters: Iterable[Tensor], lr: float = 1e-3, weight_decay: float = 0.0) -> None:
        self._lists: list[_Lists | None] = []
        super().__init__(parameters, lr=lr, weight_decay=weight_decay, fused=_is_fused(fused_adamw()))

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Take a step along the gradients in `.grad`."""
        parameters = [p for group in self.param_groups for p in group["params"]]
        self.update([None if p.grad is None else laid_out_as(p.grad, p) for p in parameters])

    @torch.no_grad()
    def update(
        self, gradients: Sequence[Tensor | None], scale: Tensor | None = None, failed: Tensor | None = None
    ) -> None:
        """Take a step with given gradients; hooks around `step` do not run.

        Args:
            gradients: One for each parameter, in the order of the groups and laid out as the parameter (`laid_out_as`);
                None leaves the parameter unchanged.
            scale: Divisor of the gradients, scalar; None for 1.
            failed: 1 to skip the step, else 0; scalar; None for 0.
        """
        kernel = fused_adamw()
        if kernel is None or not _is_usable(kernel):
            self._step_of_torch(gradients, scale, failed)
            return
        done = 0
        for number, group in enumerate(self.param_groups):
            own = gradients[done : (done := done + len(group["params"]))]
            lists = self._lists_of(number, group["params"], [g is not None for g in own])
            for counter in lists.counters:
                counter.add_(1 if failed is None else 1 - failed)
            beta1, beta2 = group["betas"]
            kernel(
                lists.parameters,
                [g for g in own if g is not None],
                lists.averages,
                lists.squares,
                [],
                lists.steps,
                lr=group["lr"],
                beta1=beta1,
                beta2=beta2,
                weight_decay=group["weight_decay"],
                eps=group["eps"],
                amsgrad=False,
                maximize=False,
                grad_scale=scale,
                found_inf=failed,
            )

    def _step_of_torch(
        self, gradients: Sequence[Tensor | None], scale: Tensor | None, failed: Tensor | None
    ) -> None:
        """Take the same step with `torch.optim.AdamW`; reading `failed` synchronizes a GPU."""
        if failed is not None and bool(failed):
            return
        parameters = [p for group in self.param_groups for p in group["params"]]
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient if gradient is None or scale is None else gradient / scale
        super().step()

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters, as `torch.optim.Optimizer` does."""
        _add_param_group(self, param_group)
        self._lists.append(None)

    def state_dict(self) -> dict[str, Any]:
        """Return the state, as `torch.optim.Optimizer` does."""
        state: dict[str, Any] = _state_dict(self)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore a state or a copy; the cached lists are rebuilt."""
        super().__setstate__(state)
        self._lists = [None] * len(self.param_groups)

    def _lists_of(self, number: int, parameters: list[Tensor], present: list[bool]) -> _Lists:
        lists = self._lists[number]
        if lists is None or lists.present != present:
            lists = self._lists[number] = self._gather(parameters, present)
        return lists

    def _gather(self, parameters: list[Tensor], present: list[bool]) -> _Lists:
        moved = [p for p, has_gradient in zip(parameters, present, strict=True) if has_gradient]
        states = [self.state[p] or self._first_state(p) for p in moved]
        for parameter, state in zip(moved, states, strict=True):
            for name in ("exp_avg", "exp_avg_sq"):  # a loaded state may have another layout
                state[name] = laid_out_as(state[name], parameter)
        # New counters, one per number of steps, separate from those of parameters without gradients.
        counters: dict[float, Tensor] = {}
        for state in states:
            state["step"] = counters.setdefault(float(state["step"]), state["step"].clone())
        return _Lists(
            present,
            moved,
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [state["step"] for state in states],
            list(counters.values()),
        )

    def _first_state(self, parameter: Tensor) -> dict[str, Any]:
        state: dict[str, Any] = self.state[parameter]
        state["step"] = torch.zeros((), device=parameter.device)
        state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        return state


@cache
def _is_usable(kernel: Any) -> bool:
    """Return whether the kernel accepts these arguments and takes a correct first step of Adam."""
    weight, gradient, average, square, step = (torch.tensor([value]) for value in (1.0, 2.0, 0.0, 0.0, 1.0))
    settings = {"lr": 0.1, "beta1": 0.9, "beta2": 0.999, "weight_decay": 0.0, "eps": 1e-8, "amsgrad": False}
    lists = [[weight], [gradient], [average], [square], [], [step[0]]]
    try:
        kernel(*lists, **settings, maximize=False, grad_scale=torch.tensor(2.0), found_inf=None)
    except (TypeError, ValueError, RuntimeError):
        return False
    return bool((weight - 0.9).abs() < 1e-6 and (average - 0.1).abs() < 1e-6)


@cache
def _is_fused(kernel: Any) -> bool:
    """Return whether `torch.optim.AdamW(fused=True)` works, with this or another kernel."""
    if _is_usable(kernel):
        return True
    weight = torch.ones(1, requires_grad=True)
    weight.grad = torch.ones(1)
    try:
        torch.optim.AdamW([weight], lr=0.1, weight_decay=0.0, fused=True).step()
    except (TypeError, ValueError, RuntimeError, AttributeError):
        return False
    return bool((weight - 0.9).abs() < 1e-6)
