"""The arguments of `compare-guides`, which a comparison saves."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from pyro_vae._checks import InputError, check, check_integer
from pyro_vae._command_line import parse
from pyro_vae.experiment.config import Config, DataConfig, ModelConfig, TrainingConfig, from_json

__all__ = ["Arguments", "parse_arguments"]

ComparedName = Literal[
    "diagonal", "full-covariance", "low-rank", "mixture", "iaf", "spline", "semi-amortized"
]


@dataclass(frozen=True)
class Arguments:
    """Fit guides of several families to one fixed model; print their bounds and the parts of their gaps."""

    run: Path | None = None
    """Folder of a trained run, whose data, settings and model are used. If not given, a model is trained first."""
    joint: bool = False
    """Train every guide jointly with its own model, instead of keeping one model fixed."""
    guides: tuple[ComparedName, ...] = ("diagonal", "full-covariance", "low-rank", "mixture", "iaf")
    """Families: diagonal, full-covariance and low-rank normals, mixture of four diagonal normals, iaf and spline
    flows, and semi-amortized, which takes a few gradient steps for each row. Gains are relative to the first."""
    seeds: tuple[int, ...] = (0,)
    """Seeds; each family is fitted once with each."""
    guide_epochs: int | None = None
    """Number of epochs of each guide; by default that of the model's training."""
    test_rows: int | None = None
    """Number of evenly spaced test rows to measure; all if not given."""
    num_samples: int = 1000
    """Number of samples of z for each test row, for bounds and log p(x)."""
    gap_rows: int = 100
    """Number of test rows to which each family is fitted separately."""
    gap_steps: int = 300
    """Number of steps of that fit."""
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    out: Path | None = None
    """Folder for guides.json, gaps.png and the measurements of each guide; by default a new numbered folder under
    runs/."""
    quiet: bool = False
    """Show no progress bars."""
    resume: Path | None = None
    """Folder of a comparison to continue: its measurements are kept, its settings are the default, and --guides and
    --seeds may change."""

    def check(self) -> None:
        """Check all values that can be checked without data."""
        check(len(self.guides) > 0, "Expected at least one of --guides; got none.")
        check(len(self.seeds) > 0, "Expected at least one of --seeds; got none.")
        for seed in self.seeds:
            check_integer(seed, "every one of --seeds", minimum=0)
        for name, number in (
            ("--num-samples", self.num_samples),
            ("--gap-rows", self.gap_rows),
            ("--test-rows", self.test_rows),
        ):
            if number is not None:
                check_integer(number, name, minimum=2)
        check_integer(self.gap_steps, "--gap-steps")
        if self.guide_epochs is not None:
            check_integer(self.guide_epochs, "--guide-epochs")
        Config(self.data, self.model, self.training).check()


def parse_arguments() -> Arguments:
    """Parse the command line; with `--resume` the saved arguments are the default."""
    arguments: Arguments = parse(Arguments)
    if arguments.resume is not None:
        saved = _saved(arguments.resume)
        arguments = parse(Arguments, default=saved)
        kept = replace(arguments, guides=saved.guides, seeds=saved.seeds, quiet=saved.quiet)
        check(
            kept == saved,
            f"Expected the settings of the comparison in {arguments.resume}, of which only --guides and --seeds may "
            "change; others were given. Leave them out, or start a new comparison without --resume.",
        )
    arguments.check()
    return arguments


def _saved(folder: Path) -> Arguments:
    """Return the saved arguments of a comparison, with `resume` set."""
    try:
        values = json.loads((folder / "arguments.json").read_text(encoding="utf-8"))
        parts = {name: values.pop(name) for name in ("data", "model", "training")}
        config = from_json(parts | {"run": {}})
        paths = {name: Path(values[name]) if values[name] else None for name in ("run", "out")}
        lists = {name: tuple(values[name]) for name in ("guides", "seeds")}
        given = values | paths | lists | {"resume": folder}
        return Arguments(**given, data=config.data, model=config.model, training=config.training)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"Expected the folder of a comparison for --resume; there is no readable arguments.json in "
            f"{folder} ({type(error).__name__}). Give the folder's path."
        ) from None
