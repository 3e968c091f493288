"""Contenders in separate processes that take turns, so that other load on the machine affects all of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks._report import Options, ranged

SCRIPTS = Path(__file__).parent.parent
PEERS = {"numpyro": ["numpyro"], "pythae": ["pythae"]}
"""Packages installed into a virtual environment per peer."""


@dataclass(frozen=True)
class Contender:
    """A module of this folder, run with the Python of an environment.

    Args:
        label: Name in tables.
        module: Module of this folder that builds and runs it.
        words: Arguments after the network on its command line.
        peer: Its virtual environment; the current one if empty.
    """

    label: str
    module: str
    words: tuple[str, ...] = ()
    peer: str = ""


def python_of(peer: str, folder: Path) -> str:
    """Return the Python of a peer's virtual environment, which is created if it is missing."""
    if not peer:
        return sys.executable
    python = folder / peer / "bin" / "python"
    if not python.exists():
        print(f"Making a virtual environment for {peer} in {folder / peer} ...", flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder / peer)], check=True)
        install = [
            str(python),
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            *PEERS[peer],
        ]
        subprocess.run(install, check=True)
    return str(python)


def environment(
    threads: int, clock: str = "wall", cache: Path | None = None, device: str = "cpu"
) -> dict[str, str]:
    """Return environment variables that give every contender the same threads, clock and device.

    Args:
        threads: Number of threads of each contender.
        clock: "wall" or "cpu".
        device: "cpu" or "cuda".
        cache: Folder of torch's compile cache; a new one if compiling is to be timed.
    """
    count = str(threads)
    paths = os.pathsep.join(
        [str(SCRIPTS), str(SCRIPTS.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    )
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    own = {
        "PYTHONPATH": paths,
        "PYTHONWARNINGS": "ignore",
    }
    own |= {"JAX_PLATFORMS": device, "BENCHMARK_CLOCK": clock, "BENCHMARK_DEVICE": device}
    own |= {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}  # contenders share the GPU's memory
    if cache is not None:
        own |= {"TORCHINDUCTOR_CACHE_DIR": str(cache), "PYRO_VAE_CACHE": str(cache / "pyro_vae")}
    return os.environ | dict.fromkeys(names, count) | own


class Process:
    """A running contender."""

    def __init__(
        self, contender: Contender, network: Sequence[Any], options: Options, cache: Path | None = None
    ) -> None:
        self.label = contender.label
        python = python_of(contender.peer, options.peers)
        command = [python, "-m", f"benchmarks.{contender.module}", json.dumps(network)]
        self._described = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed with the process)
        self.process = subprocess.Popen(
            [*command, *contender.words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._described,
            text=True,
            env=environment(options.threads, options.clock, cache, options.place),
        )
        if options.clock == "wall":  # the thread pools of JAX do not follow OMP_NUM_THREADS
            cores = sorted(os.sched_getaffinity(0))[-options.threads :]
            os.sched_setaffinity(self.process.pid, cores)
        self.seconds_to_build = self._answer()
        self.times: list[float] = []

    def round(self, seconds: float) -> None:
        """Run steps for about `seconds` and record the time of one."""
        if not self.times:
            self._ask(5)  # estimates the number of steps
            self._count = max(1, int(seconds / (self._ask(5) / 5)))
        self.steps(self._count)

    def measured(self, seconds: float) -> float:
        """Return the time of a step over about `seconds`, independently of earlier steps."""
        count = max(1, int(seconds / (self._ask(5) / 5)))
        return self._ask(count) / count

    def steps(self, count: int) -> None:
        """Run `count` steps and record the time of one."""
        self.times.append(self._ask(count) / count)

    def _ask(self, count: int) -> float:
        assert self.process.stdin is not None
        print(count, file=self.process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> float:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            status = self.process.wait()
            self._described.seek(0)
            print(self._described.read()[-2000:], file=sys.stderr)
            raise RuntimeError(f"{self.label} ended with status {status}; see its message above.")
        return float(line)

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self._described.close()


@contextmanager
def processes(
    contenders: Sequence[Contender], network: Sequence[Any], options: Options, cache: Path | None = None
) -> Iterator[list[Process]]:
    """Start contenders, which wait after they are built; all end with the block."""
    running: list[Process] = []
    try:
        for contender in contenders:
            print(f"starting {contender.label} ...", file=sys.stderr, flush=True)
            running.append(Process(contender, network, options, cache))
        yield running
    finally:
        for process in running:
            process.close()


def ceilings(threads: int, device: str = "cpu") -> dict[str, float]:
    """Return the ceilings of the machine; see `ceilings.py`."""
    command = [sys.executable, "-m", "benchmarks.ceilings"]
    done = subprocess.run(
        command, env=environment(threads, device=device), check=True, capture_output=True, text=True
    )
    values: dict[str, float] = json.loads(done.stdout)
    return values


def compared(what: str, running: Sequence[Process], scale: float = 1e3) -> list[list[str]]:
    """Return the rows of a table: the time of each contender, and its ratio to the first in the same round."""
    first = running[0].times
    rows = [
        [
            process.label,
            ranged([scale * seconds for seconds in process.times]),
            ranged([other / own for other, own in zip(process.times, first, strict=True)]),
        ]
        for process in running
    ]
    return [[what, "ms" if scale == 1e3 else "s", "ratio"], *rows]
