"""Saving and loading of weights and training state: atomic, and nothing that is loaded can run code."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from pyro_vae._checks import InputError

__all__ = [
    "StorageError",
    "load_state",
    "load_weights",
    "save_state",
    "save_weights",
    "write_atomically",
    "write_json",
]

FORMAT = "pyro_vae training state, version 1"
PARTIAL = ".partial"
"""Ending of what a killed process may leave behind; no file of this name is ever read."""


class StorageError(InputError):
    """Something could not be written; what stood there before is whole."""


@contextmanager
def write_atomically(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; at the end flush it to disk and move it there in one step.

    A reader sees the old file or the new one, whole, whenever the process or the machine dies.

    Raises:
        StorageError: If the disk is full or the folder cannot be written; the old file stays.
    """
    # One name, so that what a killed process leaves behind is overwritten by the next write.
    temporary = path.with_name(f".{path.name}{PARTIAL}")
    try:
        yield temporary
        _flush(temporary)
        temporary.replace(path)
        _flush(path.parent)
    except (OSError, SafetensorError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "write" not in str(error):
            raise
        raise StorageError(
            f"Could not write {path}: {_reason(error)}. What stood there before is unchanged; free some space or "
            "make the folder writable."
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _reason(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error).splitlines()[0]).rstrip(".")


def write_json(path: Path, values: Any) -> None:
    """Write plain values as indented JSON, atomically; numbers that are not finite become null."""
    with write_atomically(path) as temporary:
        temporary.write_text(json.dumps(nulled(values), indent=2, allow_nan=False) + "\n", encoding="utf-8")


def nulled(values: Any) -> Any:
    """Return plain values with None for numbers that are not finite, which JSON does not know."""
    if isinstance(values, dict):
        return {name: nulled(value) for name, value in values.items()}
    if isinstance(values, list | tuple):
        return [nulled(value) for value in values]
    return None if isinstance(values, float) and not abs(values) < float("inf") else values


def _programs(model: nn.Module, guide: nn.Module) -> nn.ModuleDict:
    return nn.ModuleDict({"model": model, "guide": guide})


def _unique_names(programs: nn.Module) -> list[str]:
    """Return the name of every tensor once, also where model and guide share it."""
    tensors = programs.state_dict(keep_vars=True)
    first = {id(tensor): name for name, tensor in reversed(tensors.items())}
    return [name for name, tensor in tensors.items() if first[id(tensor)] == name]


def save_weights(
    path: Path, model: nn.Module, guide: nn.Module, weights: dict[str, Tensor] | None = None
) -> None:
    """Write the weights of both programs as safetensors; what they share stands in the file once.

    Args:
        path: File to write.
        model: The generative program.
        guide: The inference program.
        weights: Values by name to write instead of the present ones.

    Raises:
        StorageError: If it cannot be written.
    """
    programs = _programs(model, guide)
    values = programs.state_dict() if weights is None else weights
    tensors = {name: values[name].detach().cpu().contiguous() for name in _unique_names(programs)}
    with write_atomically(path) as temporary:
        safetensors.torch.save_file(tensors, temporary)


def load_weights(path: Path, model: nn.Module, guide: nn.Module) -> None:
    """Read weights into the two programs; what they share is shared still.

    Raises:
        InputError: If the file is missing or damaged, or belongs to other programs.
    """
    if not path.is_file():
        raise InputError(f"Expected weights in {path}; there is no such file. Has the run finished an epoch?")
    try:
        tensors = safetensors.torch.load_file(path)
    except (SafetensorError, OSError) as error:
        raise InputError(f"Expected weights in {path}; the file is damaged ({_reason(error)}).") from None
    programs = _programs(model, guide)
    own = programs.state_dict()
    unique = _unique_names(programs)
    different = set(tensors) ^ set(unique) | {
        n for n in unique if n in tensors and tensors[n].shape != own[n].shape
    }
    if different:
        raise InputError(
            f"Expected weights of this model and guide in {path}; {len(different)} tensors differ in name or shape, "
            f"such as {min(different)!r}. The file belongs to other settings."
        )
    programs.load_state_dict(tensors, strict=False)


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write a training state, a dict of tensors, numbers and strings.

    Raises:
        StorageError: If it cannot be written; the last state stays whole.
    """
    path.parent.mkdir(exist_ok=True)
    with write_atomically(path) as temporary, temporary.open("wb") as file:
        torch.save({"format": FORMAT, "state": state}, file)


def load_state(path: Path) -> dict[str, Any]:
    """Read a training state; its tensors come back on the CPU.

    Raises:
        InputError: If the file is damaged or no training state.
    """
    try:
        values = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, OSError, ValueError) as error:
        raise InputError(
            f"Expected a checkpoint in {path}; the file is damaged or something else ({type(error).__name__}). "
            "Delete it to start this run anew, or start another run."
        ) from None
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise InputError(f"Expected a checkpoint of this program in {path}; the file holds something else.")
    state: dict[str, Any] = values["state"]
    return state
