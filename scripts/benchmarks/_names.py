"""What the command line chooses by name."""

from __future__ import annotations

from typing import TypeVar

from pyro_vae._checks import InputError

Value = TypeVar("Value")


class ByName(dict[str, Value]):
    """Values by name; asked for another name, it says which there are."""

    def __missing__(self, name: str) -> Value:
        raise InputError(f"Expected one of {', '.join(self)}; got {name!r}.")
