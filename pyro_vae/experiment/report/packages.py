"""Packages that a report needs."""

from __future__ import annotations

import importlib

from pyro_vae._checks import MissingPackageError

__all__ = ["check_packages"]


def check_packages() -> None:
    """Raise if a package that a report needs is missing.

    Raises:
        MissingPackageError: If one is missing; names the command that installs it.
    """
    for name in ("bokeh", "jinja2"):
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise MissingPackageError(
                f"A report needs the package {name}; it is not installed. Install it: pip install 'pyro_vae[report]'."
            ) from error
