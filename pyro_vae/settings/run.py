"""Settings of the run: its folder, and the evaluation after training."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pyro_vae.settings.checks import choices, different_seeds, positive_or_zero
from pyro_vae.settings.declare import setting
from pyro_vae.settings.group import Group, group

__all__ = ["RunConfig"]


@group()
class RunConfig(Group):
    """Folder of the run, evaluation and logs."""

    out: Path | None = setting(
        None,
        "Folder of the run; it must not contain a run. Default: a new numbered folder under runs/.",
        resume=True,
    )
    resume: Path | None = setting(
        None,
        "Continue the run in this folder. Its configuration is the default; --epochs, --patience, --device and --out "
        "may change.",
        resume=True,
    )
    start: Path | None = setting(
        None,
        "Initialize the weights from the run in this folder, for example to change the objective. The networks must be "
        "the same.",
    )
    seeds: tuple[int, ...] = setting(
        (),
        "Train once with each of these seeds, in separate folders, and print mean, standard deviation and standard "
        "error over seeds. --resume with their common folder continues and may add seeds.",
        check=different_seeds,
        resume=True,
    )
    checkpoint_seconds: float = setting(
        30.0,
        "Seconds between two checkpoints; one is always written when training stops.",
        check=positive_or_zero,
        resume=True,
    )
    evaluate: Literal["auto", "full", "quick", "none"] = setting(
        "auto",
        "Evaluation after training. full: the ELBO of all rows, log p(x) of 1000 test rows, and linear baselines. "
        "quick: the ELBO and log p(x) of fewer, evenly spaced rows. none: no evaluation. auto: quick if rows x samples "
        "x multiplications per row exceed 1e13, otherwise full.",
        resume=True,
    )
    sample_from: tuple[str, ...] = setting(
        (),
        "Distribution of z for samples in figures and metrics: prior, mixture (10 normals fitted to the codes of "
        "training rows after training, Ghosh et al. 2020), or both. Default: prior; mixture with --guide point, which "
        "has no trained prior.",
        check=choices("prior", "mixture"),
        resume=True,
    )
    report: bool = setting(
        False,
        "Write report.html at the end: the whole run in one file that opens offline (needs pyro_vae[report]).",
        resume=True,
    )
    log: tuple[str, ...] = setting(
        (),
        "Additional logs of each epoch in the folder of the run: csv (log.csv), tensorboard (folder tensorboard; needs "
        "pyro_vae[tensorboard]), or both. metrics.jsonl is always written.",
        check=choices("csv", "tensorboard"),
        resume=True,
    )
    quiet: bool = setting(False, "Show no progress bars.", resume=True)
