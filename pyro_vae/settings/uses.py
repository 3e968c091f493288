"""Settings that the commands share which use a trained run on rows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from pyro_vae._checks import check_integer

__all__ = ["RowsOptions", "UseOptions"]


@dataclass(frozen=True, kw_only=True)
class UseOptions:
    """The run, what is written, and the noise."""

    run: Annotated[Path, tyro.conf.Positional]
    """Folder of a finished run."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """What to write, by its ending: .npy, .csv with the columns of the training file, .png, or a folder of images."""
    seed: int = 0
    """Of all draws."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto uses CUDA if it is available."""
    quiet: bool = False
    """Show no progress bar."""

    def check(self) -> None:
        """Raise `InputError` if a value is out of range."""
        check_integer(self.seed, "--seed", minimum=0)


@dataclass(frozen=True, kw_only=True)
class RowsOptions(UseOptions):
    """The same, and the rows that the run is used on."""

    data: Annotated[Path | None, tyro.conf.Positional] = None
    """File or folder of rows, or name of a data set; the run's test rows if not given."""
