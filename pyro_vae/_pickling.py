"""Modules that can be pickled after Pyro has trained them."""

from __future__ import annotations

from typing import Any

from torch import nn

__all__ = ["Picklable"]


class Picklable(nn.Module):
    """A module that pickles, also by `torch.save(module)`, after Pyro's own inference has used it.

    `pyro.param` leaves a weak reference on each parameter, which cannot be pickled. It is removed here, as Pyro's
    `PyroModule` does; Pyro sets it again whenever it reads the parameter.
    """

    def __getstate__(self) -> Any:
        """Return what is pickled, without Pyro's weak references."""
        for parameter in self.parameters():
            vars(parameter).pop("unconstrained", None)
        return super().__getstate__()
