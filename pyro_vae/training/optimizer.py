"""Adam as `fit` uses it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

__all__ = ["FusedAdamW"]


class FusedAdamW(torch.optim.AdamW):
    """`torch.optim.AdamW(fused=True)` with its one kernel and little else in a step (Loshchilov & Hutter 2019, alg. 2).

    torch sorts the parameters by device and dtype anew in each step, which on small networks takes as long as the
    kernel. Here all are on one device and of one dtype; the state is that of `torch.optim.AdamW`.

    Args:
        parameters: What is trained.
        lr: Learning rate.
        weight_decay: Decoupled weight decay.
    """

    grad_scale: Tensor | None = None
    """What the gradients are divided by, scalar; None for 1."""
    found_inf: Tensor | None = None
    """1 where the step is to be left out, else 0; scalar."""

    def __init__(self, parameters: Iterable[Tensor], lr: float = 1e-3, weight_decay: float = 0.0) -> None:
        super().__init__(parameters, lr=lr, weight_decay=weight_decay, fused=True)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Take a step along the gradients in `.grad`."""
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            states = [self.state[p] or self._first_state(p) for p in parameters]
            steps = [state["step"] for state in states]
            torch._foreach_add_(steps, 1 if self.found_inf is None else 1 - self.found_inf)
            torch._fused_adamw_(
                parameters,
                [p.grad for p in parameters],
                [state["exp_avg"] for state in states],
                [state["exp_avg_sq"] for state in states],
                [],
                steps,
                lr=group["lr"],
                beta1=group["betas"][0],
                beta2=group["betas"][1],
                weight_decay=group["weight_decay"],
                eps=group["eps"],
                amsgrad=False,
                maximize=False,
                grad_scale=self.grad_scale,
                found_inf=self.found_inf,
            )

    def _first_state(self, parameter: Tensor) -> dict[str, Any]:
        state: dict[str, Any] = self.state[parameter]
        state["step"] = torch.zeros((), device=parameter.device)
        state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        return state
