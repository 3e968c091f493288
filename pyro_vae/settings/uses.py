"""Settings shared by the commands that use a trained run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from pyro_vae._checks import check_integer

__all__ = ["RowsOptions", "UseOptions"]


@dataclass(frozen=True, kw_only=True)
class UseOptions:
    """Run, output and seed."""

    run: Annotated[Path, tyro.conf.Positional]
    """Folder of a finished run."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Output; the ending determines the format: .npy, .csv with the columns of the training file, .png, or a folder of
    images."""
    seed: int = 0
    """Seed of all draws."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto uses CUDA if it is available."""
    quiet: bool = False
    """Show no progress bar."""

    def check(self) -> None:
        """Raise `InputError` if a value is out of range."""
        check_integer(self.seed, "--seed", minimum=0)


@dataclass(frozen=True, kw_only=True)
class RowsOptions(UseOptions):
    """Run, rows, output and seed."""

    data: Annotated[Path | None, tyro.conf.Positional] = None
    """File or folder of rows, or name of a data set; the run's test rows if not given."""
