"""Ceilings of the machine: matrix products in GFLOP/s and memory bandwidth in GB/s, as one line of JSON.

Arguments are numbers of bytes to read and write; the minimum time to copy each is printed too.
"""

import json
import sys
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from benchmarks._serve import device, finished
from pyro_vae._compat import linear_pointwise


def fastest(work: Callable[[], Tensor], seconds: float = 0.5) -> float:
    """Return the minimum time of `work`, repeated for `seconds`."""
    work()
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        finished()
        started = time.perf_counter()
        work()
        finished()
        best = min(best, time.perf_counter() - started)
    return best


def main() -> None:
    """Print the ceilings by name."""
    torch.set_default_device(device())
    size = 8192 if device() == "cuda" else 1024
    a, b = torch.randn(size, size), torch.randn(size, size)
    low_a, low_b = a.bfloat16(), b.bfloat16()
    source, target = torch.randn(2**26), torch.empty(2**26)
    gflop, gigabytes = 2 * size**3 / 1e9, 2 * 4 * 2**26 / 1e9
    ceilings = {
        "float32 product by torch, GFLOP/s": gflop / fastest(lambda: a @ b),
        "bfloat16 product by torch, GFLOP/s": gflop / fastest(lambda: low_a @ low_b),
        "copy, GB/s": gigabytes / fastest(lambda: target.copy_(source)),
    }
    if device() == "cpu" and (linear := linear_pointwise()) is not None:
        by_onednn = gflop / fastest(lambda: linear(a, b, None, "none", [], ""))
        ceilings["float32 product by oneDNN, GFLOP/s"] = by_onednn
    for size in map(int, sys.argv[1:]):
        part, copied = torch.randn(max(1, size // 8)), torch.empty(max(1, size // 8))
        ceilings[f"copy of {size} bytes, s"] = fastest(partial(copied.copy_, part), 0.1)
    print(json.dumps(ceilings))


if __name__ == "__main__":
    main()
