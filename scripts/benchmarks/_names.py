"""Values that the command line selects by name."""

from __future__ import annotations

from typing import TypeVar

from pyro_vae._checks import InputError

Value = TypeVar("Value")


class ByName(dict[str, Value]):
    """Values by name; an unknown name raises an error that lists the names."""

    def __missing__(self, name: str) -> Value:
        raise InputError(f"Expected one of {', '.join(self)}; got {name!r}.")
