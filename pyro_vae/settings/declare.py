"""Declaration of one setting: a field of a frozen dataclass with its help, check and display format."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

__all__ = ["Check", "Setting", "flag_of", "setting", "setting_of", "shown_settings"]

Check = Callable[[Any, str], Any]
"""Takes a value and its name in messages; raises `InputError` if the value is invalid."""


@dataclass(frozen=True)
class Setting:
    """The properties of a setting in addition to its name, type and default.

    Attributes:
        help: One or two sentences.
        check: Function that checks a value; it is not called for None and strings such as "auto".
        shown: Format of the value in the opening lines of a run, such as "alpha {:g}"; empty to hide it.
        unless: The value that the opening lines leave out; None is always left out.
        resume: Whether it may change with `--resume`.
        start: Whether it may change with `--start`.
        spread: For a schedule over all steps, which depends on the number of epochs: a description of the schedule, and
            the value that switches it off, such as ("the learning rate ({})", "constant").
        argument: Name of the constructor argument of the part; empty if it is the name of the setting.
    """

    help: str
    check: Check | None = None
    shown: str = ""
    unless: Any = None
    resume: bool = False
    start: bool = False
    spread: tuple[str, Any] | None = None
    argument: str = ""


def setting(default: Any, help: str, **declared: Any) -> Any:  # noqa: A002 (the name in argparse and tyro)
    """Declare a setting of a frozen dataclass.

    Args:
        default: The default value.
        help: One or two sentences.
        declared: The other attributes of `Setting`.
    """
    return dataclasses.field(default=default, metadata={"setting": Setting(help, **declared)})


def setting_of(field: dataclasses.Field[Any]) -> Setting:
    """Return the declaration of a field."""
    declared: Setting = field.metadata["setting"]
    return declared


def flag_of(name: str) -> str:
    """Return the flag of a setting, such as "--latent-dim"."""
    return f"--{name.replace('_', '-')}"


def shown_settings(record: Any, names: Collection[str] | None = None) -> list[str]:
    """Return the settings of a record as the opening lines of a run show them.

    Args:
        record: An instance of a dataclass of settings.
        names: Names of the settings to show; None shows all.
    """
    return [
        declared.shown.format(value)
        for field in dataclasses.fields(record)
        if names is None or field.name in names
        if (declared := setting_of(field)).shown
        and (value := getattr(record, field.name)) is not None
        and value != declared.unless
    ]
