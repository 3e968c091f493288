"""The process of a contender: build, report, then run the requested number of steps repeatedly."""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.networks import Network

__all__ = ["Network", "clock", "device", "finished", "serve", "turns"]


def device() -> str:
    """Return the device, "cpu" or "cuda"."""
    return os.environ.get("BENCHMARK_DEVICE", "cpu")


def finished() -> None:
    """Wait until all work on the GPU is finished."""
    if device() == "cuda" and "torch" in sys.modules:
        sys.modules["torch"].cuda.synchronize()


def clock() -> float:
    """Return seconds; processor seconds of this process and of its compilers if BENCHMARK_CLOCK is "cpu"."""
    if os.environ.get("BENCHMARK_CLOCK") != "cpu":
        return time.perf_counter()
    times = os.times()
    return time.process_time() + times.children_user + times.children_system


def serve(build: Callable[[Network], Callable[[int], Any]], first: int = 3) -> None:
    """Answer each line "n" on stdin with the seconds of n steps; the first answer is the time to build.

    Args:
        build: Function from the network, given as JSON in the first argument, to a function that takes n steps.
        first: Number of steps before the first answer.
    """
    if (
        "torch" in sys.modules
    ):  # as XLA does: Adam's moments of dead units are denormal, which slows the processor down
        sys.modules["torch"].set_flush_denormal(True)
    started = clock()
    steps = build(Network(*json.loads(sys.argv[1])))
    steps(first)
    finished()
    print(clock() - started, flush=True)
    for count in turns():
        steps(count)


def turns() -> Iterator[int]:
    """Yield the number of each line on stdin, and answer with the seconds until the next request."""
    for line in sys.stdin:
        started = clock()
        yield int(line)
        finished()
        print(clock() - started, flush=True)
