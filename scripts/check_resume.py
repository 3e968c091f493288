"""Kill training at random moments, resume it, and compare its weights with an uninterrupted run's, bit for bit.

python scripts/check_resume.py
python scripts/check_resume.py --kills 100 --dataset mnist --epochs 3
"""

from _clone import find_package

find_package()

from pyro_vae._environment import limit_thread_spinning, run_script

limit_thread_spinning()

import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from _run_state import PHASES, damaged, differences, phase

from pyro_vae._checks import InputError, check, check_integer
from pyro_vae._command_line import parse

TICK = 0.005
"""Seconds between two looks at the files of a run."""
PLAN = ("starting", "before its first checkpoint", "training", "training", "evaluation", "figures")
"""The phases in which each run is killed, in turn."""
TRAIN = Path(__file__).with_name("svi_train.py")


@dataclass(frozen=True)
class Arguments:
    """Kill training at random moments, resume it, and compare the weights bit for bit."""

    kills: int = 20
    """Number of times that a run is ended by SIGKILL."""
    dataset: str = "digits"
    """As for svi_train.py."""
    epochs: int = 100
    """Passes over the training rows."""
    hidden: tuple[int, ...] = (64,)
    """Widths of the encoder's hidden layers."""
    compile: Literal["auto", "on", "off"] = "auto"
    """As for svi_train.py."""
    evaluate: Literal["auto", "full", "quick", "none"] = "auto"
    """As for svi_train.py; with none no process is killed in evaluation and figures."""
    checkpoint_seconds: float = 0.2
    """Time between two checkpoints."""
    seed: int = 0
    """Seed of the random moments."""
    full_disk: bool = True
    """Also fill the disk under a run, if a small disk can be mounted (Linux, root)."""

    def command(self, *extra: str) -> list[str]:
        """Return the command that trains, with `extra` arguments."""
        return [sys.executable, str(TRAIN), *extra]

    def new(self, folder: Path) -> list[str]:
        """Return the command of a new run in `folder`."""
        settings = {
            "--dataset": self.dataset,
            "--epochs": self.epochs,
            "--compile": self.compile,
            "--evaluate": self.evaluate,
            "--checkpoint-seconds": self.checkpoint_seconds,
            "--out": folder,
        }
        words = [str(word) for pair in settings.items() for word in pair]
        return self.command(*words, "--hidden", *map(str, self.hidden))

    def again(self, folder: Path) -> list[str]:
        """Return the command that goes on with the run in `folder`, or starts it where it did not get that far."""
        if (folder / "config.json").exists():
            return self.command("--resume", str(folder))
        return self.new(folder)


def finish(command: list[str]) -> None:
    """Run a command to its end."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise InputError(
            f"Expected training to end well; it ended in {done.returncode}: {done.stderr[-500:]}"
        )


def start(command: list[str]) -> subprocess.Popen[bytes]:
    """Start a command whose output is of no interest."""
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def time_phases(arguments: Arguments, folder: Path) -> dict[str, float]:
    """Train without a stop; return the seconds spent in each phase."""
    seconds = dict.fromkeys(PHASES, 0.0)
    since = before = time.time()
    with start(arguments.new(folder)) as process:
        while process.poll() is None:
            time.sleep(TICK)
            seconds[phase(folder, since, arguments.epochs)] += time.time() - before
            before = time.time()
    check(process.returncode == 0, f"Expected training to end well; it ended in {process.returncode}.")
    return seconds


def killed(command: list[str], folder: Path, epochs: int, wanted: str, seconds: float) -> str | None:
    """Run a command and kill it some seconds after it has reached a phase.

    Returns:
        The phase that it was in, or None where it had ended before.
    """
    since = time.time()
    with start(command) as process:
        while process.poll() is None:
            if PHASES.index(phase(folder, since, epochs)) < PHASES.index(wanted):
                time.sleep(TICK)
                continue
            with suppress(subprocess.TimeoutExpired):
                process.wait(seconds)
                break
            process.kill()
            process.wait()
            return phase(folder, since, epochs)
    check(process.returncode == 0, f"Expected training to end well; it ended in {process.returncode}.")
    return None


@dataclass
class Tally:
    """What the kills have shown."""

    phases: Counter[str]
    damaged: list[str]
    runs: int = 0
    different: int = 0

    def compare(self, folder: Path, reference: Path) -> None:
        """Count a run that came to its end."""
        found = differences(folder, reference)
        self.runs += 1
        self.different += bool(found)
        print(f"  run {self.runs} came to its end: {', '.join(found) or 'nothing'} differs", flush=True)


def kill_runs(arguments: Arguments, place: Path, reference: Path, seconds: dict[str, float]) -> Tally:
    """Start runs, kill and resume each in every phase, let it come to its end, until all kills are spent.

    The phases take turns, so that short ones are met too; the moment within a phase is random.
    """
    moments = random.Random(arguments.seed)
    tally = Tally(Counter(), [])
    while tally.phases.total() < arguments.kills:
        folder = place / f"run-{tally.runs + 1}"
        for wanted in PLAN:
            if tally.phases.total() == arguments.kills:
                break
            moment = moments.uniform(0, seconds[wanted])
            met = killed(arguments.again(folder), folder, arguments.epochs, wanted, moment)
            if met is None:
                break
            tally.phases[met] += 1
            tally.damaged += damaged(folder)
            print(f"  kill {tally.phases.total()}, {moment:.2f} s into {wanted}: {met}", flush=True)
        finish(arguments.again(folder))
        tally.compare(folder, reference)
    return tally


@contextmanager
def small_disk(place: Path, size: int) -> Iterator[Path | None]:
    """Mount a disk of `size` bytes at `place`; give None where that is not allowed."""
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
    try:
        mounted = subprocess.run(mount, capture_output=True).returncode == 0
    except OSError:
        mounted = False
    try:
        yield place if mounted else None
    finally:
        if mounted:
            subprocess.run(["umount", str(place)], check=True)


def fill(path: Path) -> None:
    """Write to a file until its disk is full."""
    with suppress(OSError), path.open("ab", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def train_on_full_disk(arguments: Arguments, disk: Path, log: Path) -> tuple[int, str]:
    """Train, fill the disk once there is a checkpoint; return the exit status and the text on stderr."""
    folder = disk / "run"
    with (
        log.open("w", encoding="utf-8") as stderr,
        subprocess.Popen(arguments.new(folder), stdout=subprocess.DEVNULL, stderr=stderr) as process,
    ):
        while process.poll() is None:
            if (folder / "checkpoint" / "state.pt").exists():
                fill(disk / "filler")
            time.sleep(0.01)
    (disk / "filler").unlink(missing_ok=True)
    return process.returncode, log.read_text(encoding="utf-8")


def check_full_disk(arguments: Arguments, place: Path, reference: Path) -> list[str]:
    """Return what went wrong when the disk filled up under a run and space was made later."""
    used = sum(path.stat().st_size for path in reference.rglob("*"))
    with small_disk(place / "disk", 4 * used) as disk:
        if disk is None:
            print("full disk  not checked: a small disk may not be mounted here (it takes Linux and root)")
            return []
        status, description = train_on_full_disk(arguments, disk, place / "log")
        last = description.splitlines()[-1] if description else ""
        print(f"full disk  status {status}: {last}")
        wrong = {
            "status": status != 2,
            "sentence": not last.startswith("error: Could not write") or "Traceback" in description,
            "damaged file": bool(damaged(disk / "run")),
        }
        finish(arguments.again(disk / "run"))
        wrong["weights"] = bool(differences(disk / "run", reference))
    failed = [name for name, holds in wrong.items() if holds]
    print(f"full disk  after space was made: {', '.join(failed) or 'nothing'} is wrong")
    return failed


def main() -> int:
    """Train once without a stop, then with kills, then on a full disk; tell what differs."""
    arguments: Arguments = parse(Arguments)
    check_integer(arguments.kills, "--kills")
    with TemporaryDirectory() as temporary:
        place = Path(temporary)
        reference = place / "uninterrupted"
        seconds = time_phases(arguments, reference)
        description = ", ".join(f"{name} {spent:.1f} s" for name, spent in seconds.items())
        print(f"{arguments.dataset}, {arguments.epochs} epochs without a stop: {description}", flush=True)
        tally = kill_runs(arguments, place, reference, seconds)
        failed = check_full_disk(arguments, place, reference) if arguments.full_disk else []
    print()
    for name in PHASES:
        print(f"killed in {name:<33}{tally.phases[name]:>4}")
    print(f"{'runs resumed to their end':<43}{tally.runs:>4}")
    print(f"{'of them different in any bit':<43}{tally.different:>4}")
    print(f"{'damaged files':<43}{len(tally.damaged):>4}")
    return int(bool(tally.different or tally.damaged or failed))


if __name__ == "__main__":
    run_script(main)
