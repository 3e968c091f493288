"""The settings as tables in Markdown, for the documentation."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from pyro_vae.settings.data import DataConfig
from pyro_vae.settings.declare import flag_of, setting_of
from pyro_vae.settings.group import Group
from pyro_vae.settings.model import ModelConfig
from pyro_vae.settings.part import KINDS, PARTS
from pyro_vae.settings.run import RunConfig
from pyro_vae.settings.training import TrainingConfig

__all__ = ["GROUPS", "markdown_table", "parts_table", "settings_page", "shown_default"]

GROUPS: dict[str, type[Group]] = {
    "Data": DataConfig,
    "Model": ModelConfig,
    "Training": TrainingConfig,
    "Run": RunConfig,
}


def settings_page() -> str:
    """Return a page with all flags of `pyro-vae train` and all parts that can be chosen."""
    sections = [
        "# Settings of a run",
        "`python scripts/write_settings.py` generates this page from the declarations in `pyro_vae/settings/`. Flags "
        "marked with * may change when a run is resumed.",
    ]
    for title, group in GROUPS.items():
        sections += [f"## {title}", _flags_table(group)]
        for kind in group.kinds:
            sections += [f"### `{flag_of(kind)}`", parts_table(kind)]
    return "\n\n".join(sections) + "\n"


def parts_table(kind: str) -> str:
    """Return a table of the parts of a kind: name, formula, purpose and suitable data, as far as declared."""
    parts = PARTS[kind]
    help_of_kind = KINDS[kind].help
    if not any(part.formula for part in parts.values()):
        return markdown_table(
            (f"`{flag_of(kind)}`", help_of_kind), [(f"`{n}`", p.purpose()) for n, p in parts.items()]
        )
    columns = [(f"`{flag_of(kind)}`", help_of_kind, "description", "suitable data")]
    columns += [(f"`{name}`", part.formula, part.purpose(), part.data) for name, part in parts.items()]
    width = 4 if any(part.data for part in parts.values()) else 3
    header, *rows = (line[:width] for line in columns)
    return markdown_table(header, rows)


def _flags_table(group: type[Group]) -> str:
    rows = [
        (
            f"`{flag_of(field.name)}`" + " *" * setting_of(field).resume,
            shown_default(field.default),
            setting_of(field).help.split(": ")[0] + "."
            if field.name in group.kinds
            else setting_of(field).help,
        )
        for field in dataclasses.fields(group)
    ]
    return markdown_table(("flag", "default", "description"), rows)


def shown_default(default: Any) -> str:
    """Return a default value as it is typed; empty for None and for an empty list."""
    if default in (None, (), ""):
        return ""
    return f"`{' '.join(map(str, default)) if isinstance(default, tuple) else default}`"


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |" for line in lines)
