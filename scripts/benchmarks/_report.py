"""Where the figures of a benchmark go: a table on the screen, JSON and Markdown in a folder."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal


@dataclass(frozen=True)
class Options:
    """What all benchmarks take."""

    threads: int = len(os.sched_getaffinity(0))
    """Threads of each contender."""
    clock: Literal["wall", "cpu"] = "wall"
    """cpu counts the processor's seconds, which other work on the machine disturbs less; with one thread only."""
    out: Path = Path("build/benchmarks")
    """Folder for the figures, as JSON and Markdown."""
    peers: Path = Path("build/peers")
    """Folder for the virtual environments of peers, made where they are missing."""


@dataclass(frozen=True)
class InRounds(Options):
    """What benchmarks take that repeat a short measurement."""

    rounds: int = 7
    """How often each contender has its turn."""


def machine(threads: int) -> str:
    """Return the processor's name and how much of it is used."""
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    name = names[0].split(":")[1].strip() if names else platform.processor()
    return f"{name}, {os.cpu_count()} cores, {threads} thread{'s' if threads > 1 else ''}"


def markdown(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return a table; numbers with four significant digits."""

    def text(value: Any) -> str:
        return f"{value:.4g}" if isinstance(value, float) else str(value)

    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(text, line)) + " |" for line in lines)


def write(folder: Path, name: str, told: str, values: dict[str, Any]) -> None:
    """Print a text and keep it, with the figures behind it."""
    print(told, flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.md").write_text(told + "\n", encoding="utf-8")
    (folder / f"{name}.json").write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
