"""Modules of version 0.1.0 under their old names: each warns once and passes its names on from their new modules.

The folder is on `pyro_vae.__path__`, so `_moved/config.py` is found as `pyro_vae.config`, and its subfolders are on the
paths of the subpackages of their names. A new module of an old name is found first.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable

__all__ = ["moved"]


def moved(old: str, homes: dict[str, str]) -> tuple[list[str], Callable[[str], object]]:
    """Warn that a module has moved; return its `__all__` and its `__getattr__` (PEP 562).

    Args:
        old: The module's old name.
        homes: The names of each new module, separated by spaces.
    """
    home = {name: module for module, names in homes.items() for name in names.split()}
    places = "; ".join(f"{', '.join(names.split())} from {module}" for module, names in homes.items())
    warnings.warn(f"{old} has moved: import {places}.", DeprecationWarning, stacklevel=3)

    def get(name: str) -> object:
        if name in home:
            return getattr(importlib.import_module(home[name]), name)
        raise AttributeError(f"module {old!r} has no attribute {name!r}; it has moved: import {places}.")

    return list(home), get
