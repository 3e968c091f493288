"""Write the tables of settings from their declarations: docs/reference/settings.md.

python scripts/write_settings.py
"""

from _clone import find_package

find_package()

from dataclasses import dataclass
from pathlib import Path

from pyro_vae._command_line import parse
from pyro_vae._environment import run_script
from pyro_vae.settings.tables import settings_page


@dataclass(frozen=True)
class Arguments:
    """Write docs/reference/settings.md."""

    root: Path = Path(__file__).parent.parent
    """Folder of the project."""


def main() -> int:
    """Write the page."""
    arguments: Arguments = parse(Arguments)
    page = arguments.root / "docs" / "reference" / "settings.md"
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(settings_page(), encoding="utf-8")
    print(f"written: {page}")
    return 0


if __name__ == "__main__":
    run_script(main)
