"""The configuration of an experiment, and its JSON form."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pyro_vae._checks import InputError, check
from pyro_vae.settings.data import DataConfig
from pyro_vae.settings.declare import Setting, flag_of, setting_of
from pyro_vae.settings.group import Group
from pyro_vae.settings.model import ModelConfig
from pyro_vae.settings.run import RunConfig
from pyro_vae.settings.training import TrainingConfig

__all__ = [
    "Config",
    "DataConfig",
    "ModelConfig",
    "RunConfig",
    "TrainingConfig",
    "changed_settings",
    "from_json",
    "to_json",
]


@dataclass(frozen=True)
class Config:
    """Train a variational autoencoder, written as a Pyro model and guide, by stochastic variational inference."""

    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    run: RunConfig = field(default_factory=RunConfig)

    def check(self) -> None:
        """Check all values that can be checked without data.

        Raises:
            InputError: On the first invalid value.
        """
        for name in GROUPS:
            getattr(self, name).check(self)
        check(
            not self.run.seeds or self.training.seed == TrainingConfig.seed,
            f"Expected either --seed or --seeds; got --seed {self.training.seed} and --seeds "
            f"{' '.join(map(str, self.run.seeds))}. Leave out --seed.",
        )


GROUPS: dict[str, type[Group]] = {
    "data": DataConfig,
    "model": ModelConfig,
    "training": TrainingConfig,
    "run": RunConfig,
}


def to_json(config: Any) -> dict[str, Any]:
    """Return a configuration, or another dataclass of settings and groups of them, as plain JSON values."""
    values: dict[str, Any] = _plain(dataclasses.asdict(config))
    return values


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    return str(value) if isinstance(value, Path) else value


def from_json(values: Any) -> Config:
    """Return the configuration that `to_json` wrote; missing settings have their defaults.

    Raises:
        InputError: If a group, a name or a type is not as expected.
    """
    try:
        check(set(values) == set(GROUPS), f"Expected the parts {sorted(GROUPS)}; got {sorted(values)}.")
        upgraded = values | {"training": _upgraded(values["training"])}
        groups: dict[str, Any] = {name: _group(kind, upgraded[name]) for name, kind in GROUPS.items()}
        config = Config(**groups)
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"Expected a saved configuration; it does not read as one ({error}).") from None
    config.check()
    return config


def _upgraded(training: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of training; version 0.1.0 kept the best ELBO, and wrote null for no patience."""
    return {"keep": "best-elbo"} | training | {"patience": training.get("patience") or "none"}


def _group(kind: type[Group], values: dict[str, Any]) -> Group:
    unknown = sorted(set(values) - set(kind.types))
    check(
        not unknown,
        f"Expected a saved configuration of this version; it has no setting {', '.join(unknown)}. Use the version that "
        "wrote it, or start a new run.",
    )
    return kind(
        **{name: read_value(value, kind.types[name], flag_of(name)) for name, value in values.items()}
    )


def read_value(value: Any, hint: Any, name: str) -> Any:
    """Return a value of the given type from plain JSON values.

    Own code, for 30 lines: cattrs 26.2 needs a hook for every union of a number and a word, and reads "4", true and 4.5
    as whole numbers without an error; pydantic 2 validates them correctly, for 0.12 s of imports and 11 MB of packages.

    Args:
        value: Plain value.
        hint: A type, a `Literal`, a union, or a tuple of any length.
        name: Name in messages.

    Raises:
        InputError: If the value is of another type.
    """
    for choice in _choices(hint):
        origin = get_origin(choice)
        if origin is Literal and value in get_args(choice):
            return value
        if origin is tuple and isinstance(value, list):
            return tuple(read_value(part, get_args(choice)[0], name) for part in value)
        if choice is NoneType and value is None:
            return None
        if choice is Path and isinstance(value, str):
            return Path(value)
        if choice is float and isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        if origin is None and choice in (int, str, bool) and type(value) is choice:
            return value
    wanted = " or ".join(map(_wanted, _choices(hint)))
    raise InputError(f"Expected {name} to be {wanted} in the saved configuration; got {value!r}.")


def _choices(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def _wanted(hint: Any) -> str:
    """Return the name of a type in messages."""
    if get_origin(hint) is Literal:
        return f"one of {', '.join(get_args(hint))}"
    if get_origin(hint) is tuple:
        return "a list"
    words = {
        float: "a number",
        int: "a whole number",
        bool: "true or false",
        NoneType: "null",
        Path: "a path",
    }
    return words.get(hint, "text")


def changed_settings(before: Any, now: Any) -> Iterator[tuple[Setting, str]]:
    """Yield the settings in which two configurations or groups differ.

    Yields:
        The declaration of a setting, and the change as text, such as "--lr 0.001 (now 0.01)".
    """
    for each in dataclasses.fields(now):
        old, new = getattr(before, each.name), getattr(now, each.name)
        if each.name in GROUPS:
            yield from changed_settings(old, new)
        elif old != new:
            yield setting_of(each), f"{flag_of(each.name)} {old} (now {new})"
