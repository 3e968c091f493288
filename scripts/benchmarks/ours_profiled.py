"""The time of our compiled step by part: `python -m benchmarks.ours_profiled NETWORK compile [bf16]`."""

import json
import re
import sys
import time
from collections.abc import Callable
from typing import Any

import torch

from benchmarks._serve import Network
from benchmarks.ours import steps_of
from pyro_vae._compat import profile_kernels

PARTS = {
    "products": r"mm_out|addmm|linear|aten::b?mm\b|convolution",
    "optimizer": r"_fused_adam",
    "random numbers": r"normal|bernoulli|uniform|rand",
    "pointwise": r"cpp_fused|aten::copy_",
}
"""Parts of a step by the names of their kernels; other kernels count as the rest."""


def per_step(steps: Callable[[int], None], count: int) -> float:
    """Return the wall-clock seconds of a step, the median of five turns."""
    turns = []
    for _ in range(5):
        started = time.perf_counter()
        steps(count)
        turns.append((time.perf_counter() - started) / count)
    return sorted(turns)[2]


def parts_of(events: Any, count: int) -> dict[str, float]:
    """Return seconds of a step by part, from the events of a profile of `count` steps."""
    seconds = dict.fromkeys(PARTS, 0.0)
    for event in events:
        part = next((name for name, pattern in PARTS.items() if re.search(pattern, event.key)), None)
        if part is not None:
            seconds[part] += 1e-6 * event.self_cpu_time_total / count
    return seconds


def main() -> None:
    """Print the seconds of a step and of its parts, as one line of JSON."""
    torch.set_flush_denormal(True)
    with profile_kernels():
        steps = steps_of(Network(*json.loads(sys.argv[1])))
        steps(10)
    whole = per_step(steps, count=40)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        steps(100)
    parts = parts_of(profile.key_averages(), count=100)
    print(json.dumps({"step": whole} | parts | {"rest": max(0.0, whole - sum(parts.values()))}))


if __name__ == "__main__":
    main()
