"""Write the tables of settings and of options from their declarations: settings.md and commands.md of docs/reference.

python scripts/write_settings.py
"""

from _clone import find_package

find_package()

from dataclasses import dataclass
from pathlib import Path

from _clone_only import programs

from pyro_vae._command_line import parse
from pyro_vae._environment import run_script
from pyro_vae.cli.reference import commands_page
from pyro_vae.settings.tables import settings_page


@dataclass(frozen=True)
class Arguments:
    """Write docs/reference/settings.md, and the options in docs/reference/commands.md."""

    root: Path = Path(__file__).parent.parent
    """Folder of the project."""


def main() -> int:
    """Write the pages."""
    arguments: Arguments = parse(Arguments)
    reference = arguments.root / "docs" / "reference"
    reference.mkdir(parents=True, exist_ok=True)
    settings, commands = reference / "settings.md", reference / "commands.md"
    settings.write_text(settings_page(), encoding="utf-8")
    written = commands.read_text(encoding="utf-8") if commands.exists() else "# Commands\n\n"
    commands.write_text(commands_page(written, programs()), encoding="utf-8")
    print(f"written: {settings}, {commands}")
    return 0


if __name__ == "__main__":
    run_script(main)
