"""One setting: a field of a frozen dataclass that carries all that is to be known about it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

__all__ = ["Check", "Setting", "flag_of", "setting", "setting_of", "shown_settings"]

Check = Callable[[Any, str], Any]
"""Takes a value and what messages call it; raises `InputError` where the value cannot be used."""


@dataclass(frozen=True)
class Setting:
    """What is declared about a setting beside its name, type and default.

    Attributes:
        help: One or two sentences.
        check: Checks a value that is neither None nor a word such as "auto".
        shown: Format of the value in the opening lines of a run, such as "alpha {:g}"; empty where it is not shown.
        unless: The value that the opening lines leave out; None is always left out.
        resume: Whether it may change under `--resume`.
        start: Whether it may change under `--start`.
        spread: What it spreads over all steps, so that another number of epochs changes it, and the value at which it
            spreads nothing, such as ("the learning rate ({})", "constant").
        argument: What the constructor of the part calls it, where that is another name.
    """

    help: str
    check: Check | None = None
    shown: str = ""
    unless: Any = None
    resume: bool = False
    start: bool = False
    spread: tuple[str, Any] | None = None
    argument: str = ""


def setting(default: Any, help: str, **declared: Any) -> Any:  # noqa: A002 (the word of argparse and tyro)
    """Declare a setting of a frozen dataclass.

    Args:
        default: Its default.
        help: One or two sentences.
        declared: As for `Setting`.
    """
    return dataclasses.field(default=default, metadata={"setting": Setting(help, **declared)})


def setting_of(field: dataclasses.Field[Any]) -> Setting:
    """Return what was declared about a field."""
    declared: Setting = field.metadata["setting"]
    return declared


def flag_of(name: str) -> str:
    """Return the flag of a setting, such as "--latent-dim"."""
    return f"--{name.replace('_', '-')}"


def shown_settings(record: Any, names: Collection[str] | None = None) -> list[str]:
    """Return what the opening lines of a run show of the settings of a record.

    Args:
        record: An instance of a dataclass of settings.
        names: Which of its settings; all where None.
    """
    return [
        declared.shown.format(value)
        for field in dataclasses.fields(record)
        if names is None or field.name in names
        if (declared := setting_of(field)).shown
        and (value := getattr(record, field.name)) is not None
        and value != declared.unless
    ]
