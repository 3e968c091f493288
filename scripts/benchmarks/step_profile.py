"""The parts of our compiled step, each with its minimum time on this processor."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys

from benchmarks._contenders import environment
from benchmarks._report import Options, machine, markdown, write
from benchmarks.networks import Network, flops

NOTE = (
    "Floors: GFLOP over the rate of a 1024 x 1024 product; for the other parts the time to copy as many bytes. "
    "Barriers: the time with all threads minus an equal share of the time with one thread."
)


def floors(network: Network, threads: int) -> dict[str, float]:
    """Return the minimum seconds of each part, from rates measured with the same number of threads.

    The optimizer reads weight, gradient and two moments, and writes weight and moments. Pointwise operations read and
    write the output of each layer forwards and backwards, read x twice and, for its norm, the gradient once.
    """
    encoder = [network.columns, *network.hidden, 2 * network.latent_dim]
    decoder = [network.latent_dim, *reversed(network.hidden), network.columns]
    weights = sum((a + 1) * b for widths in (encoder, decoder) for a, b in itertools.pairwise(widths))
    outputs = network.batch_size * (sum(encoder[1:]) + sum(decoder[1:]))
    numbers = {
        "optimizer": 7 * weights,
        "random numbers": network.batch_size * network.latent_dim,
        "pointwise": 4 * outputs + 2 * network.batch_size * network.data_dim + weights,
    }
    command = [sys.executable, "-m", "benchmarks.ceilings", *(str(4 * count) for count in numbers.values())]
    done = subprocess.run(command, env=environment(threads), check=True, capture_output=True, text=True)
    rates = json.loads(done.stdout)
    fastest = max(value for name, value in rates.items() if name.startswith("float32"))
    copies = {name: rates[f"copy of {4 * count} bytes, s"] for name, count in numbers.items()}
    return {"products": 1e-9 * flops(network) / fastest} | copies


def profiled(network: Network, threads: int) -> dict[str, float]:
    """Return the seconds of a step and of its parts with a number of threads."""
    command = [sys.executable, "-m", "benchmarks.ours_profiled", json.dumps(network), "compile"]
    done = subprocess.run(command, env=environment(threads), check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def report(name: str, network: Network, options: Options) -> None:
    """Measure, print and write the parts of a step."""
    counts = sorted({1, options.threads})
    seconds = {threads: profiled(network, threads) for threads in counts}
    least = floors(network, options.threads)
    header = ["part", *(f"{threads} thread{'s' * (threads > 1)}, ms" for threads in counts), "floor, ms"]
    header += ["barriers, ms"] * (len(counts) > 1)
    rows = []
    for part, last in seconds[options.threads].items():
        row = [part, *(1e3 * seconds[threads][part] for threads in counts), _ms(least.get(part))]
        row += [1e3 * (last - seconds[1][part] / options.threads)] * (len(counts) > 1)
        rows.append(row)
    title = f"parts of a step, {name}, batch {network.batch_size}; {machine(options)}"
    description = f"{title}\n\n{markdown(header, rows)}\n\n{NOTE}"
    write(options.out, f"step-profile-{name}", description, {"seconds": seconds, "floors": least})


def _ms(seconds: float | None) -> float | str:
    return "" if seconds is None else 1e3 * seconds
