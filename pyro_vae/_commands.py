"""The commands of the package, and command lines in the form that started this process."""

from __future__ import annotations

import shlex
import shutil
import sys
from contextvars import ContextVar
from pathlib import Path

__all__ = ["COMMANDS", "command", "python", "script_of", "started_by"]

COMMANDS = {
    "train": "Train a variational autoencoder and write its run folder.",
    "evaluate": "Score rows with a trained run: log p(x) with error and diagnostics.",
    "report": "Write the report of a run: one HTML file that opens without a network.",
    "compare-baselines": "Compare exact linear models with variational autoencoders on one data set.",
    "compare-guides": "Compare families of guides under one model, with their gaps.",
    "generate": "Draw new rows from a trained run.",
    "encode": "Write the codes of rows.",
    "interpolate": "Decode the path between two rows or two classes.",
    "denoise": "Denoise rows.",
    "inpaint": "Fill in hidden parts of images.",
    "impute": "Fill in missing cells of a table.",
    "anomalies": "Rank rows by how unusual they are, and name their unusual cells.",
    "compress": "Compress rows losslessly.",
    "decompress": "Restore compressed rows.",
}
"""Name and summary of each command, in the order of `pyro-vae --help`; `pyro_vae.cli` has a module for each."""

started_by: ContextVar[tuple[str, ...]] = ContextVar("started_by", default=("pyro-vae",))
"""The words before the name of a command: `pyro-vae`, or `python -m pyro_vae`."""


def script_of(name: str) -> str:
    """Return the name of the script in `scripts/` that runs a command from a clone."""
    return "svi_train.py" if name == "train" else f"{name.replace('-', '_')}.py"


def command(name: str, *words: object) -> str:
    """Return a command line that runs a command, started in the same way as this process was.

    Args:
        name: One of `COMMANDS`.
        words: Its arguments.

    Returns:
        `pyro-vae NAME WORDS`, `python -m pyro_vae NAME WORDS`, or `python scripts/NAME.py WORDS`.
    """
    started = Path(sys.argv[0])
    if started.name in map(script_of, COMMANDS):
        first: tuple[str, ...] = python(), str(started.with_name(script_of(name)))
    else:
        first = *started_by.get(), name
    return shlex.join([*first, *map(str, words)])


def python() -> str:
    """Return the command of this interpreter: `python` if that is it, else its path."""
    return shortest("python", sys.executable)


def shortest(name: str, path: str) -> str:
    """Return a program's name if a shell finds it by name, else its path, relative if inside this folder."""
    found, whole = shutil.which(name), Path(path).absolute()
    if found is not None and Path(found).absolute() == whole:
        return name
    return str(whole.relative_to(Path.cwd())) if whole.is_relative_to(Path.cwd()) else path
