"""Groups of settings: flat records of the chosen parts, the settings of all parts, and further settings."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    ClassVar,
    Literal,
    get_type_hints,
)

from tyro.conf import arg

from pyro_vae._checks import InputError, check_choice
from pyro_vae._command_line import quickly_checked
from pyro_vae.settings.declare import Setting, flag_of, setting_of
from pyro_vae.settings.part import PARTS, Part

__all__ = ["Group", "group", "users_of_settings"]


class Group:
    """A frozen record of settings. Each is a flag of the command line and a key of the saved configuration.

    Attributes:
        kinds: The kinds of parts that this group chooses.
        own: Names of the settings that belong to no part.
        types: Types of all settings by name.
    """

    kinds: ClassVar[tuple[str, ...]] = ()
    own: ClassVar[tuple[str, ...]] = ()
    types: ClassVar[dict[str, Any]] = {}

    if TYPE_CHECKING:  # `group` creates the fields from the declarations of parts
        __dataclass_fields__: ClassVar[dict[str, Any]]

        def __init__(self, *values: Any, **settings: Any) -> None: ...

        def __getattr__(self, name: str) -> Any: ...

    def part(self, kind: str) -> Any:
        """Return the chosen part of a kind, with the values of its settings."""
        (part,) = self.parts(kind)
        return part

    def parts(self, kind: str) -> list[Any]:
        """Return the chosen parts of a kind with the values of their settings; for kinds with several choices."""
        chosen = getattr(self, kind)
        names = chosen if isinstance(chosen, tuple) else (chosen,)
        kinds = [PARTS[kind][check_choice(name, PARTS[kind], flag_of(kind))] for name in names]
        return [
            part(**{field.name: getattr(self, field.name) for field in part.settings()}) for part in kinds
        ]

    def check(self, config: Any) -> None:
        """Check all values that can be checked without the data.

        Args:
            config: The whole configuration; the check of a part may depend on it.

        Raises:
            InputError: If a value is invalid, or if no chosen part uses it.
        """
        for field in dataclasses.fields(self):
            value, check_value = getattr(self, field.name), setting_of(field).check
            if check_value is not None and value is not None and not isinstance(value, str):
                check_value(value, flag_of(field.name))
        for kind in self.kinds:
            self.check_unused(kind)
            for part in self.parts(kind):
                part.check(config)

    def check_unused(self, kind: str) -> None:
        """Raise `InputError` if a setting was changed that the chosen part of a kind does not have."""
        own = {field.name for part in self.parts(kind) for field in part.settings()}
        defaults = {field.name: field.default for field in dataclasses.fields(self)}
        for name, users in users_of_settings(kind).items():
            value = getattr(self, name)
            if name not in own and value != defaults[name]:
                raise InputError(
                    f"Expected no {flag_of(name)} with {flag_of(kind)} {getattr(self, kind)}, which does not use one; "
                    f"got {value}. Leave it out, or choose {flag_of(kind)} {' or '.join(users)}."
                )


def users_of_settings(kind: str) -> dict[str, list[str]]:
    """Return, for each setting of a kind, the names of the parts that have it."""
    users: dict[str, list[str]] = {}
    for name, part in PARTS[kind].items():
        for field in part.settings():
            users.setdefault(field.name, []).append(name)
    return users


def group(*kinds: type[Part]) -> Callable[[type[Any]], type[Any]]:
    """Return a decorator that turns a class into a flat record of settings and adds those of some kinds of parts.

    Args:
        kinds: Each adds one setting with its name, whose value is the name of a part, and the settings of all its
            parts.
    """

    def decorate(cls: type[Any]) -> type[Any]:
        fields = [field for kind in kinds for field in _fields_of_kind(kind)]
        hints = get_type_hints(cls)
        cls.kinds, cls.own = tuple(kind.kind for kind in kinds), tuple(vars(cls)["__annotations__"])
        fields += [(name, hints[name], vars(cls)[name]) for name in cls.own]
        cls.types = {name: hint for name, hint, _ in fields}
        cls.__annotations__ = {
            name: Annotated[quickly_checked(hint), arg(help=setting_of(field).help)]
            for name, hint, field in fields
        }
        for name, _, field in fields:
            setattr(cls, name, field)
        return dataclass(frozen=True)(cls)

    return decorate


def _fields_of_kind(kind: type[Part]) -> Iterator[tuple[str, Any, Any]]:
    """Yield name, type and field: first of the setting that chooses the part, then of the settings of the parts."""
    parts = PARTS[kind.kind]
    listed = "; ".join(f"{name} ({part.purpose()})" for name, part in parts.items())
    choice = Setting(f"{kind.help}: {listed}.")
    hint: Any = tuple[str, ...] if kind.default == () else Literal[tuple(parts)]
    yield kind.kind, hint, dataclasses.field(default=kind.default, metadata={"setting": choice})
    for name, users in users_of_settings(kind.kind).items():
        part = parts[users[0]]
        field = next(field for field in part.settings() if field.name == name)
        declared = setting_of(field)
        if len(users) < len(parts):
            declared = dataclasses.replace(declared, help=f"{declared.help} For {', '.join(users)}.")
        yield (
            name,
            get_type_hints(part)[name],
            dataclasses.field(default=field.default, metadata={"setting": declared}),
        )
