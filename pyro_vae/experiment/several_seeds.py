"""`--seeds`: one run for each seed, one after another, each in a folder of its own."""

from __future__ import annotations

import dataclasses
import itertools
import json
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from pyro_vae._checks import InputError, NonFiniteLossError, check
from pyro_vae._commands import command
from pyro_vae.experiment.config import Config, to_json
from pyro_vae.experiment.resuming import default_name
from pyro_vae.experiment.run_folder import RunFolder
from pyro_vae.experiment.saved_config import SEEDS, absolute, saved_config
from pyro_vae.experiment.seeds_table import numbers_of, over_seeds, seeds_table
from pyro_vae.processes import Processes
from pyro_vae.settings.declare import setting_of
from pyro_vae.storage import write_json

__all__ = ["train_seeds"]


@dataclass
class SeedsFolder:
    """The folder of several seeds: `seed-0`, `seed-1`, ... and `seeds.json`.

    Args:
        path: The folder.
        config: Configuration as given.
        begun: Seeds whose folders already contain a run.
        failed: Reason for missing numbers, by seed.
    """

    path: Path
    config: Config
    begun: frozenset[int] = frozenset()
    failed: dict[int, str] = field(default_factory=dict)

    def run(self, seed: int) -> RunFolder:
        """Return the folder of one seed."""
        return RunFolder(self.path / f"seed-{seed}")

    def config_of(self, seed: int) -> Config:
        """Return the configuration of one seed: a new run, or a resumed one if it has begun before."""
        place = self.run(seed)
        if seed not in self.begun:
            training = replace(self.config.training, seed=seed)
            run = replace(self.config.run, seeds=(), out=place.path, resume=None)
            return replace(self.config, training=training, run=run)
        saved = saved_config(place.path)
        groups = {
            group.name: replace(getattr(saved, group.name), **_changes(getattr(self.config, group.name)))
            for group in dataclasses.fields(saved)
        }
        return replace(saved, **groups)

    def is_finished(self, seed: int) -> bool:
        """Return whether a seed is finished: trained to its end, and evaluated as configured."""
        place = self.run(seed)
        if seed not in self.begun or not place.summary.exists():
            return False
        found, config = _read(place.summary), self.config_of(seed)
        trained = found["stopped"] == "patience" or found["epochs"] >= (config.training.epochs or 0)
        same_end = saved_config(place.path).training.patience == config.training.patience
        evaluated = found["evaluation"] in ("full", config.run.evaluate)
        return (
            trained
            and same_end
            and (evaluated or (found["evaluation"], config.run.evaluate) == ("quick", "auto"))
        )

    def summaries(self) -> dict[int, dict[str, Any]]:
        """Return the content of `summary.json` for the seeds that have one."""
        places = {seed: self.run(seed).summary for seed in self.config.run.seeds if seed not in self.failed}
        return {seed: _read(place) for seed, place in places.items() if place.exists()}

    def write(self) -> None:
        """Write `seeds.json`: the numbers of each seed and over seeds, and everything needed to resume."""
        found = self.summaries()
        facts = ("dataset", "split", "num_examples", "unit", "preprocessing")
        about = {name: next(iter(found.values()))[name] for name in facts} if found else {}
        seeds = {str(seed): numbers_of(summary) for seed, summary in found.items()}
        numbers = {"over_seeds": over_seeds(found), "seeds": seeds}
        failed = {str(seed): reason for seed, reason in self.failed.items()}
        write_json(
            self.path / SEEDS, about | numbers | {"failed": failed, "config": to_json(absolute(self.config))}
        )


def _changes(group: Any) -> dict[str, Any]:
    """Return the settings of a group that may change when a run is resumed, if they are given."""
    names = [f.name for f in dataclasses.fields(group) if setting_of(f).resume]
    given = {name: getattr(group, name) for name in names if name not in ("out", "resume", "seeds")}
    return {name: value for name, value in given.items() if value is not None and value != "auto"}


def _read(path: Path) -> dict[str, Any]:
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return values
    except (OSError, ValueError) as error:
        raise InputError(
            f"Could not read {path}: {error}. Delete it, and the run is evaluated again."
        ) from None


def train_seeds(config: Config, processes: Processes, train_one: Callable[[Config, Processes], int]) -> int:
    """Train once with each seed of a configuration, and print a table of the results.

    A finished seed is skipped, and a stopped one is resumed, so that `--resume` of the folder completes interrupted
    runs. A seed whose loss is not finite is recorded, and the others continue.

    Args:
        config: Configuration as parsed, with `run.seeds`.
        processes: Processes that train together.
        train_one: Trains one run; returns its exit status.

    Returns:
        The exit status: 0, or that of the run that was stopped.

    Raises:
        InputError: If the folder, the data or a setting cannot be used.
        NonFiniteLossError: At the end, if the loss of a seed was not finite.
    """
    folder, first, seeds = _open(config, processes), processes.rank == 0, config.run.seeds
    # The first process reads the disk for all: others could find a folder that it has created in the meantime.
    begun = processes.from_first(torch.tensor([folder.run(seed).config.exists() for seed in seeds]).long())
    folder.begun = frozenset(itertools.compress(seeds, begun.tolist()))
    done = [first and folder.is_finished(seed) for seed in seeds]
    done = processes.from_first(torch.tensor(done).long()).bool().tolist()
    status = 0
    for number, seed in enumerate(seeds):
        if first:
            text = "finished before" if done[number] else f"in {folder.run(seed).path}"
            print(f"\nseed {seed}, {number + 1} of {len(seeds)}: {text}", flush=True)
        if not done[number]:
            status = _train_seed(folder, seed, processes, train_one)
        if status:
            break
    if first:
        _close(folder, status)
    if folder.failed:
        raise NonFiniteLossError(" ".join(f"Seed {seed}: {reason}" for seed, reason in folder.failed.items()))
    return status


def _open(config: Config, processes: Processes) -> SeedsFolder:
    """Return the folder to write to, new or resumed; only the first process creates one."""
    source, target = config.run.resume, config.run.out
    if source is None:
        if processes.rank > 0:
            return SeedsFolder(target or Path(), config)
        folder = SeedsFolder(RunFolder.create(target, f"{default_name(config)}-seeds").path, config)
    else:
        check(
            (source / SEEDS).is_file(),
            f"Expected a folder of several seeds to resume with --seeds; {source} holds one run. Leave out --seeds.",
        )
        check(
            target is None or target.resolve() == source.resolve(),
            f"Expected no other folder for --out when several seeds are resumed; got {target}. Leave it out.",
        )
        folder = SeedsFolder(source, config)
    if processes.rank == 0:
        folder.write()
    return folder


def _train_seed(
    folder: SeedsFolder, seed: int, processes: Processes, train_one: Callable[[Config, Processes], int]
) -> int:
    try:
        return train_one(folder.config_of(seed), processes)
    except NonFiniteLossError as error:
        if processes.count > 1:
            raise  # the other processes may have stopped elsewhere
        folder.failed[seed] = str(error)
        print(f"seed {seed} failed: {error}", flush=True)
        return 0
    except (
        KeyboardInterrupt
    ):  # while data is read or programs are compiled; during training a signal ends the run
        return 128 + signal.SIGINT
    except InputError:
        if processes.rank == 0:
            _remove_empty(folder)
        raise
    finally:
        if processes.rank == 0 and folder.path.exists():
            folder.write()


def _remove_empty(folder: SeedsFolder) -> None:
    """Remove the folder if not even the first run could begin."""
    if not any(folder.path.glob("seed-*")):
        (folder.path / SEEDS).unlink(missing_ok=True)
        with suppress(OSError):
            folder.path.rmdir()


def _close(folder: SeedsFolder, status: int) -> None:
    """Print the table of the finished seeds, and the command that resumes."""
    found = folder.summaries()
    if found:
        print(seeds_table(found))
    if status:
        print(f"Continue with the remaining seeds: {command('train', '--resume', folder.path)}", flush=True)
    else:
        print(f"{len(found)} runs in {folder.path}", flush=True)
