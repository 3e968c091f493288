"""The command line of a run, as a checked configuration."""

from __future__ import annotations

import dataclasses
from typing import Any

from pyro_vae._checks import InputError
from pyro_vae._command_line import parse
from pyro_vae.experiment.config import Config
from pyro_vae.experiment.saved_config import absolute, saved_config

__all__ = ["from_command_line"]


def from_command_line(config_type: type[Config] = Config, args: list[str] | None = None) -> Config:
    """Parse the command line into a checked configuration; with `--resume` the saved one is the default.

    Args:
        config_type: What to parse into.
        args: Arguments without the program's name; the process's own where None.

    Raises:
        InputError: If a value cannot be used, or `--resume` meets settings that differ from the saved ones.
    """
    config: Config = parse(config_type, args)
    if config.run.resume is not None:
        saved = saved_config(config.run.resume)
        given: Config = parse(config_type, args, saved)
        config = _resumed(saved, given)
    config.check()
    return config


def _resumed(saved: Config, given: Config) -> Config:
    """Return the configuration to go on with, or raise where a setting differs that may not."""
    may_change = {"epochs", "patience", "device", "out", "resume", "data_root"}
    may_change |= {"checkpoint_seconds", "evaluate", "quiet"}
    before, after = _flat(absolute(saved)), _flat(absolute(given))
    changed = [name for name in before if before[name] != after[name] and name not in may_change]
    if changed:
        told = ", ".join(f"--{n.replace('_', '-')} {before[n]} (now {after[n]})" for n in changed)
        raise InputError(
            f"A resumed run keeps its settings, but these differ: {told}. "
            "Leave them out, or start a new run without --resume."
        )
    return given


def _flat(config: Config) -> dict[str, Any]:
    return {name: value for part in dataclasses.asdict(config).values() for name, value in part.items()}
