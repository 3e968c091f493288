"""Write the tables of settings from their declarations: docs/settings.md, and the likelihoods of README.md.

python scripts/write_settings.py
"""

from dataclasses import dataclass
from pathlib import Path

from pyro_vae._command_line import parse
from pyro_vae._environment import run_script
from pyro_vae.settings.tables import parts_table, settings_page

START, END = "<!-- likelihoods: written by scripts/write_settings.py -->\n", "\n<!-- end -->"


@dataclass(frozen=True)
class Arguments:
    """Write docs/settings.md, and the table of likelihoods between its two marks in README.md."""

    root: Path = Path(__file__).parent.parent
    """Folder of the project."""


def main() -> int:
    """Write both files."""
    arguments: Arguments = parse(Arguments)
    page, readme = arguments.root / "docs" / "settings.md", arguments.root / "README.md"
    page.parent.mkdir(exist_ok=True)
    page.write_text(settings_page(), encoding="utf-8")
    print(f"written: {page}")
    if readme.exists():
        before, start, rest = readme.read_text(encoding="utf-8").partition(START)
        table = parts_table("likelihood") if start else ""
        readme.write_text(
            f"{before}{start}{table}{END if start else ''}{rest.partition(END)[2]}", encoding="utf-8"
        )
        print(f"written: {readme}")
    return 0


if __name__ == "__main__":
    run_script(main)
