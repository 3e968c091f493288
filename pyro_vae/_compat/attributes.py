"""Private attributes and operators of torch and Pyro."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

__all__ = [
    "fused_adamw",
    "give_local_state",
    "has_bfloat16_instructions",
    "linear_pointwise",
    "module_tables",
    "takes_scale",
    "validate_sample",
]


def fused_adamw() -> Callable[..., None] | None:
    """Return torch's kernel of AdamW for many parameters at once; None without it (`torch.optim.AdamW` is used)."""
    return getattr(torch, "_fused_adamw_", None)


def takes_scale(optimizer: torch.optim.Optimizer) -> bool:
    """Return whether `step` reads `optimizer.grad_scale` and `found_inf`; False without the name (one more pass)."""
    return bool(getattr(optimizer, "_step_supports_amp_scaling", False))


def has_bfloat16_instructions() -> bool:
    """Return whether the processor multiplies bfloat16 matrices; False without the names (float32 is used)."""
    tests = (
        getattr(torch.cpu, name, None) for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    )
    return any(test is not None and test() for test in tests)


def validate_sample(distribution: Distribution, value: Tensor) -> None:
    """Raise `ValueError` if validation is on and `value` is outside of the support; do nothing without the names."""
    if getattr(distribution, "_validate_args", False) and hasattr(distribution, "_validate_sample"):
        distribution._validate_sample(value)


def give_local_state(program: Any) -> None:
    """Make a `PyroModule` created without `module_local_params` usable with it; do nothing without the name."""
    context = getattr(program, "_pyro_context", None)
    if context is not None and not hasattr(context, "param_state"):
        context.param_state = {"params": {}, "constraints": {}}


def module_tables(module: nn.Module) -> list[dict[str, Any]]:
    """Return the dictionaries of a module's parameters, buffers, submodules and forward hooks.

    Raises:
        NotImplementedError: Without one of them, since changes could be missed; callers then fall back to Pyro's
            handlers.
    """
    own = vars(module)
    names = ("_parameters", "_buffers", "_modules", "_forward_hooks", "_forward_pre_hooks")
    if not all(name in own for name in names):
        raise NotImplementedError("this version of torch keeps the parts of a module elsewhere")
    return [own[name] for name in names]


def linear_pointwise() -> Callable[..., Tensor] | None:
    """Return oneDNN's `activation(x @ weight.T + bias)`; None without it (torch's own product is used)."""
    if not torch.backends.mkldnn.is_available():
        return None
    return getattr(torch.ops.mkldnn, "_linear_pointwise", None)
