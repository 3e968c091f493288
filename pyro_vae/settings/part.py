"""A part of an experiment that can be chosen by name, such as a likelihood, with the settings that belong to it."""

from __future__ import annotations

import dataclasses
import importlib
import operator
from dataclasses import dataclass
from typing import Any, ClassVar

from pyro_vae.settings.declare import setting_of, shown_settings

__all__ = ["KINDS", "PARTS", "DataFacts", "Part", "load", "load_parts"]

PARTS: dict[str, dict[str, type[Part]]] = {}
"""By kind and name every part that there is, in the order of their declaration."""
KINDS: dict[str, type[Part]] = {}
"""By name every kind."""


@dataclass(frozen=True)
class DataFacts:
    """What parts choose by where a setting is left open.

    Attributes:
        typical_scale: Root mean square of the columns' standard deviations, in data units.
        smallest_scale: The smallest of them that is not 0.
        one_unit: Whether all columns have one unit, as pixels have.
        num_rows: Training rows.
        error: The error of a reconstruction that the likelihood stands for.
    """

    typical_scale: float
    smallest_scale: float
    one_unit: bool
    num_rows: int
    error: str = "squared"


class Part:
    """Settings of a part; a subclass with a `name` is one that can be chosen.

    The first sentence of its docstring is its help: what follows its name.

    Attributes:
        kind: What it is one of, such as "likelihood"; its flag is `--likelihood`.
        help: Of that flag.
        default: The name that is taken where none is given; the empty tuple where several can be chosen, or none.
        name: Its name on the command line.
        target: What makes it, "module:name", called with what its kind is made from and with its settings.
        formula: What it is as a formula, for the tables of the documentation.
        data: Which data it is for, likewise.
    """

    kind: ClassVar[str]
    help: ClassVar[str]
    default: ClassVar[str | tuple[()]]
    name: ClassVar[str] = ""
    target: ClassVar[str] = ""
    formula: ClassVar[str] = ""
    data: ClassVar[str] = ""

    def __init_subclass__(
        cls, *, name: str = "", target: str = "", formula: str = "", data: str = "", **rest: str | tuple[()]
    ) -> None:
        """Enter a part or, with `kind`, `help` and `default`, a kind of parts."""
        super().__init_subclass__()
        for key, value in rest.items():
            setattr(cls, key, value)
        cls.name, cls.target, cls.formula, cls.data = name, target, formula, data
        made = dataclass(frozen=True)(cls)
        KINDS.setdefault(cls.kind, made)
        parts = PARTS.setdefault(cls.kind, {})
        if name:
            parts[name] = made

    @classmethod
    def purpose(cls) -> str:
        """Return what the part is for, a phrase: the first sentence of its docstring without its full stop."""
        text = " ".join((cls.__doc__ or "").split("\n\n")[0].split()).rstrip(".")
        return text[0].lower() + text[1:]

    @classmethod
    def settings(cls) -> tuple[dataclasses.Field[Any], ...]:
        """Return the fields of its settings."""
        fields: tuple[dataclasses.Field[Any], ...] = dataclasses.fields(cls)  # type: ignore[arg-type]
        return fields

    def check(self, config: Any) -> None:
        """Check what depends on the rest of the configuration; single values are checked as they are declared."""

    def resolved(self, facts: DataFacts) -> dict[str, Any]:
        """Return by name the values of settings that were left open, chosen from the data.

        Raises:
            InputError: If a given value does not suit the data.
        """
        return {}

    def make(self, *made_from: Any, **more: Any) -> Any:
        """Return the part itself.

        Args:
            made_from: What its kind is made from.
            more: Further arguments by name.
        """
        values = {setting_of(f).argument or f.name: getattr(self, f.name) for f in self.settings()}
        return load(self.target)(*made_from, **values, **more)

    def line(self) -> str:
        """Return what the opening lines of a run show: its name, and the settings that are worth showing."""
        return ", ".join([self.name, *shown_settings(self)])


def load(target: str) -> Any:
    """Return what a target names, such as "pyro_vae.likelihoods.normal:GaussianLikelihood"."""
    module, _, name = target.partition(":")
    return operator.attrgetter(name)(importlib.import_module(module))


def load_parts(kind: str) -> dict[str, Any]:
    """Return by name what makes each part of a kind."""
    return {name: load(part.target) for name, part in PARTS[kind].items()}
