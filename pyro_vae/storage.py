"""Atomic writes of files and folders."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from pyro_vae._checks import InputError

__all__ = ["StorageError", "write_atomically", "write_folder", "write_json"]

PARTIAL = ".partial"
"""Suffix of temporary files, which are never read; a killed process may leave one behind."""


class StorageError(InputError):
    """A file or folder could not be written; the previous one is unchanged."""


@contextmanager
def write_atomically(path: Path) -> Iterator[Path]:
    """Yield a temporary path next to `path`; at the end flush the file to disk and move it to `path` in one step.

    A reader sees the complete old file or the complete new one, even if the process or the machine fails.

    Raises:
        StorageError: If the disk is full or the folder cannot be written; the old file stays.
    """
    # The name is fixed, so that the next write overwrites a file that a killed process has left.
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
            f"Could not write {path}: {_reason(error)}. The previous file is unchanged; free some space or "
            "make the folder writable."
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def write_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder next to `path`; at the end move it to `path` in one step.

    Args:
        path: A folder that does not exist or is empty.

    Raises:
        StorageError: If the disk is full or the folder cannot be written; nothing is left behind.
    """
    temporary = path.with_name(f".{path.name}{PARTIAL}")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        yield temporary
        temporary.replace(path)
        _flush(path.parent)
    except OSError as error:
        raise StorageError(
            f"Could not write the folder {path}: {_reason(error)}. Free some space, or give an empty folder that can "
            "be written."
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


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
        temporary.write_text(
            json.dumps(null_non_finite(values), indent=2, allow_nan=False) + "\n", encoding="utf-8"
        )


def null_non_finite(values: Any) -> Any:
    """Return plain values with None for numbers that are not finite, which JSON does not support."""
    if isinstance(values, dict):
        return {name: null_non_finite(value) for name, value in values.items()}
    if isinstance(values, list | tuple):
        return [null_non_finite(value) for value in values]
    return None if isinstance(values, float) and not abs(values) < float("inf") else values
