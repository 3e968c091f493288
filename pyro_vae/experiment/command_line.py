"""The command line of a run, as a checked configuration."""

from __future__ import annotations

from pyro_vae._checks import InputError
from pyro_vae._command_line import parse
from pyro_vae.experiment.config import Config, changed_settings
from pyro_vae.experiment.saved_config import absolute, saved_config

__all__ = ["from_command_line"]


def from_command_line(config_type: type[Config] = Config, args: list[str] | None = None) -> Config:
    """Parse the command line into a checked configuration; with `--resume` the saved one is the default.

    Args:
        config_type: Type of the result.
        args: Arguments without the program's name; the process's own if None.

    Raises:
        InputError: If a value is invalid, or settings differ from the saved ones with `--resume`.
    """
    config: Config = parse(config_type, args)
    if config.run.resume is not None:
        saved = saved_config(config.run.resume)
        config = parse(config_type, args, saved)
        _check_resumed(saved, config)
    config.check()
    return config


def _check_resumed(saved: Config, given: Config) -> None:
    """Raise `InputError` if a setting that must be kept differs from the saved one."""
    changes = [
        text for declared, text in changed_settings(absolute(saved), absolute(given)) if not declared.resume
    ]
    if changes:
        raise InputError(
            f"A resumed run keeps its settings, but these differ: {', '.join(changes)}. "
            "Leave them out, or start a new run without --resume."
        )
