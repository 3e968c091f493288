"""Output of a benchmark: a table on the screen, JSON and Markdown in a folder."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pyro_vae._checks import InputError


@dataclass(frozen=True)
class Options:
    """Options of all benchmarks."""

    threads: int = field(default_factory=lambda: len(os.sched_getaffinity(0)))
    """Number of threads of each contender; that of the available cores if not given."""
    clock: Literal["wall", "cpu"] = "wall"
    """cpu counts processor seconds, which other load on the machine affects less; only with one thread."""
    out: Path = Path("build/benchmarks")
    """Folder for the results, as JSON and Markdown."""
    peers: Path = Path("build/peers")
    """Folder for the virtual environments of peers, which are created if missing."""

    @property
    def place(self) -> str:
        """Device of the contenders."""
        return "cpu"


@dataclass(frozen=True)
class InRounds(Options):
    """Options of benchmarks that repeat a short measurement."""

    rounds: int = 7
    """Number of turns of each contender."""


@dataclass(frozen=True)
class OnDevice(InRounds):
    """Options of benchmarks that can run on a GPU."""

    device: Literal["cpu", "cuda"] = "cpu"
    """Device of the contenders; times on a GPU are wall-clock times."""

    def __post_init__(self) -> None:
        if (self.device, self.clock) == ("cuda", "cpu"):
            raise InputError(
                "Expected --clock wall with --device cuda; got cpu, which does not count a GPU's time."
            )

    @property
    def place(self) -> str:
        """Device of the contenders."""
        return self.device


def machine(options: Options) -> str:
    """Return the processor's name, the number of threads, and the GPU's name if one is used."""
    threads = options.threads
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    name = names[0].split(":")[1].strip() if names else platform.processor()
    description = f"{name}, {os.cpu_count()} cores, {threads} thread{'s' if threads > 1 else ''}"
    return f"{_gpu()}, {description}" if options.place == "cuda" else description


def _gpu() -> str:
    import torch

    return torch.cuda.get_device_name()


def markdown(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return a table; numbers with four significant digits."""

    def text(value: Any) -> str:
        return f"{value:.4g}" if isinstance(value, float) else str(value)

    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(text, line)) + " |" for line in lines)


def ranged(values: Sequence[float]) -> str:
    """Return "median [minimum, maximum]" with three significant digits."""

    def text(value: float) -> str:
        return f"{value:#.3g}".rstrip(".")

    return f"{text(statistics.median(values))} [{text(min(values))}, {text(max(values))}]"


def mean_and_error(values: Sequence[float], digits: int = 3) -> str:
    """Return the mean with its standard error, the only value alone, and "" without values."""
    if len(values) < 2:
        return f"{values[0]:.{digits}f}" if values else ""
    error = np.std(values, ddof=1) / np.sqrt(len(values))
    return f"{np.mean(values):.{digits}f} ± {error:.{digits}f}"


def write(folder: Path, name: str, text: str, values: dict[str, Any]) -> None:
    """Print a text, and write it with its numbers."""
    print(text, flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.md").write_text(text + "\n", encoding="utf-8")
    (folder / f"{name}.json").write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
