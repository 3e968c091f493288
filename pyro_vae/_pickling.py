"""Modules that can be pickled after Pyro has trained them."""

from __future__ import annotations

from typing import Any

from torch import nn

__all__ = ["Picklable"]


class Picklable(nn.Module):
    """A module that can be pickled, also by `torch.save(module)`, after use with Pyro's inference.

    `pyro.param` sets a weak reference on each parameter, which cannot be pickled. It is removed here, as in Pyro's
    `PyroModule`; Pyro sets it again when it reads the parameter.
    """

    def __getstate__(self) -> Any:
        """Return the state without Pyro's weak references."""
        for parameter in self.parameters():
            vars(parameter).pop("unconstrained", None)
        return super().__getstate__()
