"""Settings of the run: where it is kept, and what follows training."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pyro_vae.settings.checks import choices, different_seeds, positive_or_zero
from pyro_vae.settings.declare import setting
from pyro_vae.settings.group import Group, group

__all__ = ["RunConfig"]


@group()
class RunConfig(Group):
    """Where the run is kept."""

    out: Path | None = setting(
        None,
        "Folder of the run, which must not hold one yet; a new numbered folder under runs/ where not given.",
        resume=True,
    )
    resume: Path | None = setting(
        None,
        "Folder of a run to go on with; its configuration is the default, and --epochs, --patience, --device and --out "
        "may change.",
        resume=True,
    )
    start: Path | None = setting(
        None,
        "Folder of a run whose weights a new run of the same networks starts from, as under another objective; from "
        "fresh ones where not given.",
    )
    seeds: tuple[int, ...] = setting(
        (),
        "Train once with each of these seeds, one after another, each in a folder of its own, and print mean, spread "
        "and standard error over seeds; --resume of their folder goes on, and may add seeds.",
        check=different_seeds,
        resume=True,
    )
    checkpoint_seconds: float = setting(
        30.0,
        "Time between two checkpoints; one is always written when training stops.",
        check=positive_or_zero,
        resume=True,
    )
    evaluate: Literal["auto", "full", "quick", "none"] = setting(
        "auto",
        "What follows training: full estimates the ELBO of all rows and log p(x) of 1000 test rows, and fits linear "
        "baselines; quick does the former two for fewer, evenly spaced rows; none trains only. auto is full, and quick "
        "where rows x samples x products of weights (a convolution's at each pixel) are more than 1e13.",
        resume=True,
    )
    sample_from: tuple[str, ...] = setting(
        (),
        "What z of samples is drawn from, in the pictures and the metrics: prior, or mixture (a mixture of 10 normals "
        "fitted to the codes of training rows after training, Ghosh et al. 2020), or both. prior where not given, and "
        "mixture with --guide point, whose codes no prior is fitted to.",
        check=choices("prior", "mixture"),
        resume=True,
    )
    report: bool = setting(
        False,
        "Write report.html at the end: the run in one file that opens without a network (needs pyro_vae[report]).",
        resume=True,
    )
    log: tuple[str, ...] = setting(
        (),
        "Logs of the numbers of each epoch in the run's folder, beside metrics.jsonl: csv (log.csv), or tensorboard "
        "(the folder tensorboard; needs pyro_vae[tensorboard]), or both.",
        check=choices("csv", "tensorboard"),
        resume=True,
    )
    quiet: bool = setting(False, "Show no progress bars.", resume=True)
