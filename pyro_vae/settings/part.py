"""Base class of the parts of an experiment, such as a likelihood, that are chosen by name and have settings."""

from __future__ import annotations

import dataclasses
import importlib
import operator
from dataclasses import dataclass
from typing import Any, ClassVar

from pyro_vae.settings.declare import setting_of, shown_settings

__all__ = ["KINDS", "PARTS", "DataFacts", "Part", "load", "load_parts"]

PARTS: dict[str, dict[str, type[Part]]] = {}
"""All parts by kind and name, in the order of their declaration."""
KINDS: dict[str, type[Part]] = {}
"""All kinds by name."""


@dataclass(frozen=True)
class DataFacts:
    """Properties of the training data from which parts choose default settings.

    Attributes:
        typical_scale: Root mean square of the columns' standard deviations, in data units.
        geometric_scale: Geometric mean of those that are not 0, in data units.
        smallest_scale: The smallest standard deviation that is not 0, in data units.
        one_unit: Whether all columns have the same unit, such as pixels.
        num_rows: Number of training rows.
        error: The reconstruction error that corresponds to the likelihood.
    """

    typical_scale: float
    geometric_scale: float
    smallest_scale: float
    one_unit: bool
    num_rows: int
    error: str = "squared"


class Part:
    """Settings of a part. Users can choose each subclass that has a `name`.

    The first paragraph of the docstring of a subclass is its help text; it follows the name.

    Attributes:
        kind: The kind of part, such as "likelihood"; its flag is `--likelihood`.
        help: Help text of that flag.
        default: Name of the default part; an empty tuple for kinds of which none or several can be chosen.
        name: Name on the command line.
        target: Constructor as "module:name"; called with the arguments of the kind and the settings of the part.
        formula: Formula for the tables of the documentation.
        data: Suitable data, for the same tables.
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
        """Register a part or, with `kind`, `help` and `default`, a kind of parts."""
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
        """Return a phrase that describes the part: the first paragraph of its docstring without the full stop."""
        text = " ".join((cls.__doc__ or "").split("\n\n")[0].split()).rstrip(".")
        return text[0].lower() + text[1:]

    @classmethod
    def settings(cls) -> tuple[dataclasses.Field[Any], ...]:
        """Return the fields of its settings."""
        fields: tuple[dataclasses.Field[Any], ...] = dataclasses.fields(cls)  # type: ignore[arg-type]
        return fields

    def check(self, config: Any) -> None:
        """Check the settings against the rest of the configuration; `Setting.check` checks single values."""

    def resolved(self, facts: DataFacts) -> dict[str, Any]:
        """Choose values from the data for settings that were not given, and return them by name.

        Raises:
            InputError: If a given value does not fit the data.
        """
        return {}

    def make(self, *made_from: Any, **more: Any) -> Any:
        """Construct the part.

        Args:
            made_from: Positional arguments of its kind.
            more: Further arguments by name.
        """
        values = {setting_of(f).argument or f.name: getattr(self, f.name) for f in self.settings()}
        return load(self.target)(*made_from, **values, **more)

    def line(self) -> str:
        """Return the text of the opening lines of a run: the name, and the settings with a `shown` format."""
        return ", ".join([self.name, *shown_settings(self)])


def load(target: str) -> Any:
    """Import the object of a target, such as "pyro_vae.likelihoods.normal:GaussianLikelihood"."""
    module, _, name = target.partition(":")
    return operator.attrgetter(name)(importlib.import_module(module))


def load_parts(kind: str) -> dict[str, Any]:
    """Return the constructors of all parts of a kind by name."""
    return {name: load(part.target) for name, part in PARTS[kind].items()}
