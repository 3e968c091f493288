"""What a contender's process does: build, say so, then take as many steps as it is asked to, again and again."""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.networks import Network

__all__ = ["Network", "clock", "device", "finished", "serve", "turns"]


def device() -> str:
    """Return what to compute on, "cpu" or "cuda"."""
    return os.environ.get("BENCHMARK_DEVICE", "cpu")


def finished() -> None:
    """Wait until a GPU has done what torch has started on it."""
    if device() == "cuda" and "torch" in sys.modules:
        sys.modules["torch"].cuda.synchronize()


def clock() -> float:
    """Return seconds; where BENCHMARK_CLOCK is "cpu" those of this process, and of compilers that it has waited for."""
    if os.environ.get("BENCHMARK_CLOCK") != "cpu":
        return time.perf_counter()
    times = os.times()
    return time.process_time() + times.children_user + times.children_system


def serve(build: Callable[[Network], Callable[[int], Any]], first: int = 3) -> None:
    """Answer each line "n" on stdin by the seconds that n steps took; the first answer is the time to build.

    Args:
        build: Function from the network, given as JSON in the first argument, to a function that takes n steps.
        first: Steps that are taken before the first answer.
    """
    if (
        "torch" in sys.modules
    ):  # as XLA does: Adam's moments of dead units are denormal, and slow the processor down
        sys.modules["torch"].set_flush_denormal(True)
    started = clock()
    steps = build(Network(*json.loads(sys.argv[1])))
    steps(first)
    finished()
    print(clock() - started, flush=True)
    for count in turns():
        steps(count)


def turns() -> Iterator[int]:
    """Yield the number of each line on stdin, and answer by the seconds until the next is asked for."""
    for line in sys.stdin:
        started = clock()
        yield int(line)
        finished()
        print(clock() - started, flush=True)
