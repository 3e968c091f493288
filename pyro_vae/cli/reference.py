"""The options of all commands as tables in Markdown, for the documentation."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import textwrap
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

import tyro

from pyro_vae._commands import COMMANDS
from pyro_vae.experiment.config import Config
from pyro_vae.settings.declare import flag_of
from pyro_vae.settings.group import Group
from pyro_vae.settings.tables import GROUPS, markdown_table, shown_default

__all__ = ["MARK", "Program", "commands_page"]

MARK = "<!-- Written by scripts/write_settings.py from here on. -->\n"
HEADER = ("option", "values", "default", "description")
NAMES_OF_TYPES = {int: "integer", float: "number", str: "text", Path: "path", bool: ""}


class Program(NamedTuple):
    """A program of the reference.

    Attributes:
        name: Title of its section.
        summary: What it does.
        examples: Command lines.
        options: The dataclass that its command line is parsed into.
        prefixes: Whether settings of groups are prefixed by the name of their field.
    """

    name: str
    summary: str
    examples: tuple[str, ...]
    options: type
    prefixes: bool = False

    def section(self) -> str:
        """Return the section of the page: summary, examples and options."""
        options = sorted(
            _options(self.options), key=lambda option: (option[0].startswith("`--"), option[2] != "required")
        )
        parts = [
            f"## {self.name}",
            self.summary,
            "\n".join(["```bash", *self.examples, "```"]),
            markdown_table(HEADER, options) if options else "",
            _groups(self.options, self.prefixes),
        ]
        return "\n\n".join(filter(None, parts))


def commands_page(page: str, scripts: Iterable[Program] = ()) -> str:
    """Return the page of commands with a section for each command below `MARK`, then for each of the scripts."""
    programs = [*map(_command, COMMANDS), *scripts]
    return f"{page.partition(MARK)[0]}{MARK}\n" + "\n\n".join(p.section() for p in programs) + "\n"


def _command(name: str) -> Program:
    module: Any = importlib.import_module(f"pyro_vae.cli.{name.replace('-', '_')}")
    examples = tuple(line for line in module.__doc__.splitlines() if line.startswith("pyro-vae "))
    return Program(name, COMMANDS[name], examples, getattr(module, "Arguments", Config))


def _options(kind: type) -> Iterator[tuple[str, str, str, str]]:
    """Yield name, values, default and description of each option of a dataclass, except those of its groups.

    Its own come before those of its bases.
    """
    hints, descriptions = get_type_hints(kind, include_extras=True), _descriptions(kind)
    for field in sorted(dataclasses.fields(kind), key=lambda field: field.name not in kind.__annotations__):
        hint = hints[field.name]
        if not _is_group(hint):
            name = _name(field.name, hint)
            if field.default is True:
                name += f", `{flag_of(f'no_{field.name}')}`"
            yield name, _values(hint), _default(field), descriptions[field.name]


def _default(field: dataclasses.Field[Any]) -> str:
    """Return the default as it is typed; empty if the machine determines it, as the description says."""
    if field.default is not dataclasses.MISSING:
        return shown_default(field.default)
    return "required" if field.default_factory is dataclasses.MISSING else ""


def _descriptions(kind: type) -> dict[str, str]:
    """Return the docstring below each field of a class and of its bases."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__[:-1]):
        (definition,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        body = definition.body if isinstance(definition, ast.ClassDef) else []
        for field, below in pairwise(body):
            if isinstance(field, ast.AnnAssign) and isinstance(below, ast.Expr):
                name, text = ast.unparse(field.target), ast.literal_eval(below.value)
                found[name] = " ".join(text.split())
    return found


def _name(name: str, hint: Any) -> str:
    """Return an option as it is typed, with its short forms; positional ones in capitals."""
    given = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
    if tyro.conf.Positional in given:
        return f"`{name.upper()}`"
    renamed = next(filter(None, (getattr(mark, "name", None) for mark in given)), name)
    aliases = [alias for mark in given for alias in getattr(mark, "aliases", None) or ()]
    return ", ".join(f"`{option}`" for option in (flag_of(renamed), *aliases))


def _values(hint: Any) -> str:
    """Return a type in words: its choices, or the name of the type; `...` if several values can follow."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _values(arguments[0])
    if origin is Literal:
        return ", ".join(f"`{choice}`" for choice in arguments)
    if origin in (Union, UnionType):
        return " or ".join(_values(argument) for argument in arguments if argument is not type(None))
    if origin is tuple:
        return f"{_values(arguments[0])} ..."
    return NAMES_OF_TYPES[hint]


def _is_group(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, Group)


def _groups(kind: type, prefixes: bool) -> str:
    """Return a sentence that refers to the settings of the groups of a dataclass."""
    titles = {group: title for title, group in GROUPS.items()}
    used = {name: titles[hint] for name, hint in get_type_hints(kind).items() if hint in titles}
    links = [
        f"[{title}](settings.md#{title.lower()})" + f" as `--{name}.SETTING`" * prefixes
        for name, title in used.items()
    ]
    return f"All settings of {', '.join(links)} are options too." if used else ""
