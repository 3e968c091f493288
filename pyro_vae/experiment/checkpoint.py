"""Saving and loading of weights and training state: writes are atomic, and loaded files cannot run code."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from pyro_vae._checks import InputError
from pyro_vae.storage import _reason, write_atomically

__all__ = ["load_state", "load_weights", "save_state", "save_weights"]

FORMAT = "pyro_vae training state, version 1"


def _programs(model: nn.Module, guide: nn.Module) -> nn.ModuleDict:
    return nn.ModuleDict({"model": model, "guide": guide})


def _unique_names(programs: nn.Module) -> list[str]:
    """Return the name of every tensor once, also if model and guide share it."""
    tensors = programs.state_dict(keep_vars=True)
    first = {id(tensor): name for name, tensor in reversed(tensors.items())}
    return [name for name, tensor in tensors.items() if first[id(tensor)] == name]


def save_weights(
    path: Path, model: nn.Module, guide: nn.Module, weights: dict[str, Tensor] | None = None
) -> None:
    """Write the weights of both programs as safetensors; shared weights are stored once.

    Args:
        path: File to write.
        model: The generative program.
        guide: The inference program.
        weights: Values by name to write instead of the current ones.

    Raises:
        StorageError: If it cannot be written.
    """
    programs = _programs(model, guide)
    values = programs.state_dict() if weights is None else weights
    tensors = {name: values[name].detach().cpu().contiguous() for name in _unique_names(programs)}
    with write_atomically(path) as temporary:
        safetensors.torch.save_file(tensors, temporary)


def load_weights(path: Path, model: nn.Module, guide: nn.Module) -> None:
    """Read weights into the two programs; shared weights remain shared.

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
        StorageError: If it cannot be written; the previous state is then unchanged.
    """
    path.parent.mkdir(exist_ok=True)
    with write_atomically(path) as temporary, temporary.open("wb") as file:
        torch.save({"format": FORMAT, "state": state}, file)


def load_state(path: Path) -> dict[str, Any]:
    """Read a training state; its tensors are on the CPU.

    Raises:
        InputError: If the file is damaged or not a training state.
    """
    try:
        values = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, OSError, ValueError) as error:
        raise InputError(
            f"Expected a checkpoint in {path}; the file is damaged or something else ({type(error).__name__}). "
            "Delete it to start this run again, or start another run."
        ) from None
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise InputError(f"Expected a checkpoint of this program in {path}; the file holds something else.")
    state: dict[str, Any] = values["state"]
    return state
