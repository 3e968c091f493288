"""The console command `pyro-vae`: one module for each of its commands, imported when the command runs."""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pyro_vae._checks import InputError
from pyro_vae._commands import COMMANDS, python, shortest, started_by
from pyro_vae._environment import limit_thread_spinning, run_script
from pyro_vae._version import __version__

__all__ = ["main", "main_of"]


def main() -> None:
    """Run the command that the command line names, and exit with its status."""
    limit_thread_spinning()
    run_script(_run)


def main_of(name: str) -> Callable[[], int]:
    """Return the function that parses `sys.argv`, runs a command, and returns its exit status.

    Args:
        name: One of `COMMANDS`.
    """
    module: Any = importlib.import_module(f"pyro_vae.cli.{name.replace('-', '_')}")
    return module.main


def _run() -> int:
    """Run the command of `sys.argv`; its arguments follow its name.

    Raises:
        InputError: If there is no such command.
    """
    program, words = _program(), sys.argv[1:]
    if not words:
        print(_help(" ".join(program)), file=sys.stderr)
        return 2
    name, *arguments = words
    if name in ("-h", "--help"):
        print(_help(" ".join(program)))
        return 0
    if name == "--version":
        print(f"pyro_vae {__version__}")
        return 0
    if name not in COMMANDS:
        raise InputError(
            f"Expected a command, one of {', '.join(COMMANDS)}; got {name!r}. {_suggestion(name)}".rstrip()
        )
    started_by.set(program)
    sys.argv = [" ".join((*program, name)), *arguments]  # commands parse `sys.argv`
    return main_of(name)()


def _program() -> tuple[str, ...]:
    """Return the words that started this program: `pyro-vae`, or `python -m pyro_vae`."""
    path = sys.argv[0]
    return (python(), "-m", "pyro_vae") if Path(path).name == "__main__.py" else (shortest("pyro-vae", path),)


def _suggestion(name: str) -> str:
    close = difflib.get_close_matches(name, COMMANDS, 1)
    return f"Did you mean {close[0]}?" if close else ""


def _help(program: str) -> str:
    width = max(map(len, COMMANDS))
    return "\n".join(
        [
            f"usage: {program} COMMAND [ARGUMENTS]",
            "",
            "Variational autoencoders as Pyro programs, with exact baselines.",
            "",
            "commands:",
            *(f"  {name:<{width}}  {summary}" for name, summary in COMMANDS.items()),
            "",
            f"Arguments of a command: {program} COMMAND --help. Version: {program} --version.",
        ]
    )
