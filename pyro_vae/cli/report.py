"""Write the report of a finished run: one HTML file that opens without a network.

pyro-vae report runs/digits-gaussian-001
pyro-vae report runs/digits-gaussian-001 -o digits.html
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from pyro_vae._checks import check
from pyro_vae._command_line import parse
from pyro_vae.progress import quiet


@dataclass(frozen=True)
class Arguments:
    """Write a run's numbers, curves, latent space, traversal, best and worst rows as one HTML file."""

    run: Annotated[Path, tyro.conf.Positional]
    """Folder of a finished run."""
    out: Annotated[Path | None, tyro.conf.arg(aliases=("-o",))] = None
    """The file; report.html in the run's folder if not given."""
    quiet: bool = False
    """Show no progress bars."""


def main() -> int:
    """Parse, gather, write."""
    arguments: Arguments = parse(Arguments)
    out = arguments.out
    check(
        out is None or (out.suffix in (".html", ".htm") and not out.is_dir()),
        f"Expected a file ending in .html for -o; got {out}.",
    )
    check(
        out is None or out.parent.is_dir(),
        f"Expected a file in an existing folder for -o; got {out}. Create the folder first.",
    )
    from pyro_vae.experiment.report.packages import check_packages

    check_packages()
    from pyro_vae.experiment.report.open_run import report_of_run

    with quiet(arguments.quiet):
        path = report_of_run(arguments.run, out)
    print(f"report in {path}, {path.stat().st_size / 1e6:.1f} MB")
    return 0
