"""The scripts that are no commands of the package but of use to its users, for the reference of commands."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from typing import Any

from pyro_vae.cli.reference import Program

SCRIPTS = ("benchmark", "calibration", "check_resume", "check_stability", "make_sprites")


def programs() -> Iterator[Program]:
    """Yield each script, `benchmark.py` as one program for each of its benchmarks."""
    for name in SCRIPTS:
        module = importlib.import_module(name)
        if name == "benchmark":
            yield from map(_benchmark, module.BENCHMARKS)
        else:
            yield _script(module)


def _script(module: Any) -> Program:
    summary, *lines = module.__doc__.splitlines()
    examples = tuple(line for line in lines if line.startswith("python scripts/"))
    return Program(f"{module.__name__}.py", summary, examples, module.Arguments)


def _benchmark(kind: type) -> Program:
    name = f"benchmark.py {kind.__name__.lower()}"
    return Program(name, inspect.getdoc(kind) or "", (f"python scripts/{name}",), kind, prefixes=True)
