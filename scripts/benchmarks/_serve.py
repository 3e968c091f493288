"""What a contender's process does: build, say so, then take as many steps as it is asked to, again and again."""

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple


class Network(NamedTuple):
    """The network that all contenders train: data_dim-hidden-latent_dim and its mirror, Bernoulli."""

    data_dim: int
    hidden: list[int]
    latent_dim: int
    batch_size: int
    activation: str = "relu"


def serve(build: Callable[[Network], Callable[[int], Any]]) -> None:
    """Answer each line "n" on stdin by the seconds that n steps took; the first answer is the time to build.

    The seconds are the processor's own where BENCHMARK_CLOCK is "cpu".

    Args:
        build: Function from the network, given as JSON in the first argument, to a function that takes n steps.
    """
    clock = time.process_time if os.environ.get("BENCHMARK_CLOCK") == "cpu" else time.perf_counter
    started = time.perf_counter()
    steps = build(Network(*json.loads(sys.argv[1])))
    steps(3)
    print(time.perf_counter() - started, flush=True)
    for line in sys.stdin:
        started = clock()
        steps(int(line))
        print(clock() - started, flush=True)
