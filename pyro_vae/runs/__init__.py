"""Runs: a folder each, that training fills, that can be gone on with and read back."""

from pyro_vae.runs.callbacks import Checkpoints, StopOnSignal
from pyro_vae.runs.folder import (
    Run,
    RunFolder,
    absolute,
    load_data,
    load_run,
    saved_config,
    saved_info,
    write_config,
)
from pyro_vae.runs.interruption import Interrupted, interruptible
from pyro_vae.runs.resuming import open_folder, restore, resume_notes, start_from

__all__ = [
    "Checkpoints",
    "Interrupted",
    "Run",
    "RunFolder",
    "StopOnSignal",
    "absolute",
    "interruptible",
    "load_data",
    "load_run",
    "open_folder",
    "restore",
    "resume_notes",
    "saved_config",
    "saved_info",
    "start_from",
    "write_config",
]
