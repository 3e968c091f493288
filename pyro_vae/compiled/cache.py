"""A cache of compiled graphs in a folder of the user.

A cached graph is a shared library, and loading it runs its code. It is therefore loaded only from a folder that the
user owns with mode 0700, and only if its checksum is correct.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import stat
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pyro_vae._compat import inductor_settings, loaded_libraries, num_inputs_of_library, open_library
from pyro_vae._version import __version__
from pyro_vae.storage import StorageError, write_atomically

__all__ = ["Cache", "Kept"]

MOST_GRAPHS = 100
"""Maximum number of cached graphs of 0.1 to 1 MB each; the least recently used are removed."""


class Kept(NamedTuple):
    """A compiled graph from the cache."""

    run: Callable[..., Sequence[Tensor]]
    """Function of the inputs and the captured tensors."""
    places: list[int]
    """Positions of the captured tensors among the external tensors of a recording."""
    tolerance: float
    """Relative tolerance of its results."""


class Cache:
    """A folder of compiled graphs owned by the user.

    Args:
        folder: Created with mode 0700 if it does not exist.

    Raises:
        PermissionError: If the folder has another owner, or others have rights on it.
        OSError: If it cannot be created.
    """

    def __init__(self, folder: Path) -> None:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        _check_own(folder)
        self.folder = folder.resolve()

    @classmethod
    def of_user(cls) -> Cache | None:
        """Return the cache of the user.

        The environment variable `PYRO_VAE_CACHE` names its folder. The default is `$XDG_CACHE_HOME/pyro_vae`, or
        `~/.cache/pyro_vae`. Returns None if the variable is "off", or, with a warning, if the folder cannot be used.
        """
        chosen = os.environ.get("PYRO_VAE_CACHE")
        if chosen == "off" or not hasattr(os, "getuid"):
            return None
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        folder = Path(chosen).expanduser() if chosen else Path(base) / "pyro_vae"
        try:
            return cls(folder)
        except OSError as error:
            if chosen or isinstance(error, PermissionError):
                warnings.warn(
                    f"Compiled graphs are not kept: expected a folder of mode 0700 that you own, got {folder} "
                    f"({error.strerror or error}). Set PYRO_VAE_CACHE to another folder, or to off.",
                    stacklevel=2,
                )
            return None

    def key(self, recording: str, inputs: Sequence[Tensor]) -> str:
        """Return the key of a graph: a digest of everything that its code depends on.

        Args:
            recording: Digest of the operations.
            inputs: Inputs of the graph.
        """
        layouts = [(t.shape, t.stride(), t.storage_offset(), t.dtype, t.device) for t in inputs]
        return hashlib.sha256(repr([recording, layouts, *_circumstances()]).encode()).hexdigest()

    def load(self, key: str) -> Kept | None:
        """Return the graph of a key; None if there is none or it is damaged."""
        library, about = self._files(key)
        try:
            for path in (library, about):
                _check_own(path)
            metadata = json.loads(about.read_text(encoding="utf-8"))
            if metadata["sha256"] != hashlib.sha256(library.read_bytes()).hexdigest():
                return None
            run = open_library(library)
            os.utime(about)
            return None if run is None else Kept(run, list(metadata["places"]), float(metadata["tolerance"]))
        except (OSError, ValueError, KeyError, TypeError, ImportError):
            return None

    def store(self, key: str, library: Path, num_inputs: int, **about: Any) -> None:
        """Store a graph; if that fails, it is compiled again at the next start.

        Args:
            key: Its key.
            library: Its shared library.
            num_inputs: Its number of inputs; a library with another number is not stored.
            about: Metadata for `load`, and the seconds of compilation.
        """
        if num_inputs_of_library(library) != num_inputs:
            return
        library_file, metadata_file = self._files(key)
        with suppress(StorageError, OSError):
            with write_atomically(library_file) as path:
                shutil.copyfile(library, path)
                path.chmod(0o600)
            with write_atomically(metadata_file) as path:
                digest = hashlib.sha256(library_file.read_bytes()).hexdigest()
                path.write_text(json.dumps({"sha256": digest, **about}), encoding="utf-8")
                path.chmod(0o600)
            self._forget_oldest()

    def forget(self, key: str) -> None:
        """Remove a graph."""
        for path in self._files(key):
            path.unlink(missing_ok=True)

    @contextmanager
    def compiling(self) -> Iterator[list[Path]]:
        """Trace and compile inside; yields a list that is filled with the files of the compiled graphs.

        TorchInductor's own files go into the folder too, unless `TORCHINDUCTOR_CACHE_DIR` is set: its default is a
        folder in /tmp, whose owner it does not check.
        """
        files: list[Path] = []
        before = loaded_libraries()
        name = "TORCHINDUCTOR_CACHE_DIR"
        was_set = name in os.environ
        os.environ.setdefault(name, str(self.folder / "inductor"))
        try:
            yield files
        finally:
            if not was_set:
                os.environ.pop(name, None)
        files += [path for module, path in loaded_libraries().items() if module not in before]

    def _files(self, key: str) -> tuple[Path, Path]:
        return self.folder / f"{key}.so", self.folder / f"{key}.json"

    def _forget_oldest(self) -> None:
        newest_first = sorted(self.folder.glob("*.json"), key=lambda path: path.stat().st_mtime, reverse=True)
        for path in newest_first[MOST_GRAPHS:]:
            self.forget(path.stem)


def _check_own(path: Path) -> None:
    """Raise `PermissionError` if a folder or file has another owner, or others have rights on it."""
    found = path.lstat()
    if stat.S_ISLNK(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        mode = stat.S_IMODE(found.st_mode)
        raise PermissionError(f"{path} has mode {mode:04o} and belongs to user {found.st_uid}")


def _circumstances() -> list[Any]:
    """Return what the code of a graph depends on besides its operations."""
    own = hashlib.sha256()
    for path in sorted(
        [*Path(__file__).parent.glob("*.py"), *(Path(__file__).parent.parent / "_compat").glob("*.py")]
    ):
        own.update(path.read_bytes())
    build = (torch.__version__, torch.version.git_version, sys.implementation.cache_tag)
    names = ("CXX", "CXXFLAGS", "CPATH")
    variables = {
        k: v for k, v in os.environ.items() if k in names or k.startswith(("TORCHINDUCTOR_", "OMP_"))
    }
    variables.pop("TORCHINDUCTOR_CACHE_DIR", None)
    modes = (
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
        torch.get_float32_matmul_precision(),
        torch.backends.mkldnn.is_available(),
        torch.backends.cpu.get_cpu_capability(),
    )
    return [
        __version__,
        own.hexdigest(),
        build,
        processor(),
        _compiler(),
        sorted(variables.items()),
        modes,
        inductor_settings(),
    ]


def processor() -> str:
    """Return the model and instruction sets of the processor; the machine's name if unknown."""
    names = ("model name", "flags", "Features", "CPU part")
    with suppress(OSError):
        first = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n")[0]
        lines = [line for line in first.splitlines() if line.startswith(names)]
        if lines:
            return "\n".join(lines)
    return f"{platform.node()} {platform.machine()} {platform.processor()}"


def _compiler() -> tuple[Any, ...]:
    """Return path, size and date of the C++ compiler; empty if there is none."""
    path = shutil.which(os.environ.get("CXX", "g++"))
    if path is None:
        return ()
    found = Path(path).resolve()
    return str(found), found.stat().st_size, found.stat().st_mtime_ns
