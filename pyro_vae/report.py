"""What a run says of itself: the lines before, and the table after."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pyro_vae import plots
from pyro_vae.checkpoint import write_json
from pyro_vae.closing import Evaluation
from pyro_vae.comparison import NAMES, Comparison, Entry, LinearVAE
from pyro_vae.config import OBJECTIVE_SETTINGS, Config, TrainingConfig
from pyro_vae.data import DataSet, Split
from pyro_vae.evaluate.scores import TOLERATED_SHARE
from pyro_vae.training import FitResult

__all__ = [
    "bits_per_dim",
    "closing_table",
    "comparison_table",
    "format_table",
    "nats",
    "opening_lines",
    "split_facts",
    "test_facts",
    "write_comparison",
]


EPOCH_KEPT = {
    "best-elbo": "epoch with the best validation ELBO",
    "best-loss": "epoch with the best validation loss",
    "last": "last epoch",
}
"""What each rule of `--keep` is called."""

LARGE = 1e7
"""From this size on a number of nats is written with an exponent."""


def opening_lines(config: Config, dataset: DataSet, folder: Path, notes: Sequence[str] = ()) -> list[str]:
    """Return what is to be known before training: the data, how it is prepared, what was chosen."""
    model, training = config.model, config.training
    splits = (dataset.train, dataset.validation, dataset.test)
    scale = {
        "standard deviation of at least": model.scale_floor,
        "standard deviation of": model.fixed_scale,
    }
    chosen = "".join(
        f", {name} {value:.3g} in data units" for name, value in scale.items() if value is not None
    )
    rows = " / ".join(str(len(split)) for split in splits)
    decay = f", weight decay {training.weight_decay:g}" if training.weight_decay else ""
    dropout = f"; {model.dropout:.0%} of the encoder's columns dropped in training" if model.dropout else ""
    widths = "-".join(map(str, model.hidden))
    precision = "; products in bf16 in training" if model.precision == "bf16" else ""
    return [
        f"data       {dataset.name}: {rows} rows (train / validation / test), {dataset.data_dim} columns",
        f"x          {dataset.preprocessing.description}",
        *(f"note       {note}" for note in (*notes, *noticed(config, dataset))),
        f"likelihood {model.likelihood}{chosen}",
        f"networks   {dataset.data_dim}-{widths}-{model.latent_dim}, mirrored; {model.activation}{dropout}{precision}",
        f"programs   guide {model.guide}, prior {model.prior}" + _components(model.prior_components),
        *([f"weights    from {config.run.start}"] if config.run.start is not None else []),
        f"loss       minus {training.objective}{_objective_settings(training)}",
        f"training   {'' if training.patience == 'none' else 'at most '}{training.epochs} epochs, batch "
        f"{training.batch_size}, Adam at {training.lr:g}{decay} ({training.schedule}), seed {training.seed}, "
        f"{training.device}, compile {training.compile}",
        f"kept       {_kept(training)}",
        f"run        {folder}",
    ]


def _kept(training: TrainingConfig) -> str:
    """Return which weights are kept, and what ends training early, such as "the epoch with the best ... ELBO"."""
    average = f", each the mean over the last {training.average:.3g} of its steps" if training.average else ""
    patience = (
        "" if training.patience == "none" else f"; ends after {training.patience} epochs without a better one"
    )
    return f"weights of the {EPOCH_KEPT[training.keep]}{average}{patience}"


def _components(number: int | None) -> str:
    return "" if number is None else f" of {number} components"


def _objective_settings(training: TrainingConfig) -> str:
    """Return what an objective was told, such as ", 5 particles, alpha 0.5"."""
    particles = f", {training.num_particles} particle" + "s" * (training.num_particles > 1)
    own = OBJECTIVE_SETTINGS.get(training.objective, ())
    told = {
        name: getattr(training, name)
        for name in own
        if getattr(training, name) != getattr(TrainingConfig, name)
    }
    if "alpha" in own:
        told["alpha"] = training.alpha
    return particles + "".join(f", {name.replace('_', ' ')} {value:g}" for name, value in told.items())


def closing_table(
    config: Config,
    dataset: DataSet,
    evaluation: Evaluation,
    result: FitResult,
    folder: Path,
) -> str:
    """Return the table that ends a run.

    Args:
        config: Resolved.
        dataset: What was trained on.
        evaluation: What the kept weights come to.
        result: What `fit` returned.
        folder: Where the run lies.
    """
    levels = dataset.preprocessing.levels
    header = ["split", "rows", "ELBO", "± se", "reconstruction", "KL"] + (["bits/dim"] if levels else [])
    rows = []
    for name, estimate in evaluation.estimates.items():
        numbers = (
            estimate.mean,
            estimate.se,
            float(estimate.reconstruction.mean()),
            float(estimate.kl.mean()),
        )
        row = [name, str(len(estimate.value)), *map(nats, numbers)]
        rows.append(
            row + ([f"{bits_per_dim(estimate.mean, dataset.data_dim, levels):.3f}"] if levels else [])
        )
    notes = (*evaluation.notes, *noticed(config, dataset), result.note, result.early_note)
    lines = [
        format_table([header, *rows]) if rows else "",
        f"{'ELBO at the weights' if rows else 'Weights'} of the {EPOCH_KEPT[result.kept_by]} (epoch "
        f"{result.best_epoch} of {len(result.history)}, ended by {result.stopped}); trained in "
        f"{result.seconds:.1f} s" + _compiling(result),
        likelihood_line(evaluation.likelihood) if evaluation.likelihood else "",
        *_baseline_lines(evaluation.baselines, config.model.latent_dim),
        evaluation.extent.sentence,
        *(f"note: {note}" for note in notes if note),
        f"run in {folder}",
    ]
    title = (
        f"{dataset.name}, {dataset.preprocessing.description}; {config.model.likelihood} likelihood, "
        f"latent {config.model.latent_dim}; nats per example"
    )
    return "\n".join(["", title, *filter(None, lines)])


def _compiling(result: FitResult) -> str:
    return f", {result.compile_seconds:.1f} s of it compiling" if result.compile_seconds else ""


def _baseline_lines(baselines: Mapping[str, Entry | str], latent_dim: int) -> list[str]:
    """Return the exact log-likelihoods that stand beside the test ELBO, or the reasons why there are none."""
    fitted = [entry for entry in baselines.values() if not isinstance(entry, str)]
    told = "; ".join(f"{entry.name} {nats(entry.test[0])} ± {nats(entry.test[1])}" for entry in fitted)
    lines = [f"exact log p(x) of the same test rows, latent {latent_dim}: {told}"] if fitted else []
    return lines + [f"{NAMES[key]} {entry}" for key, entry in baselines.items() if isinstance(entry, str)]


def test_facts(dataset: DataSet) -> dict[str, Any]:
    """Return what stands beside every number of the test split: data set, rows, unit and preprocessing."""
    return split_facts(dataset.name, dataset.test)


def split_facts(dataset: str, split: Split) -> dict[str, Any]:
    """Return what stands beside every number of a split.

    Args:
        dataset: Name of the data set that the programs were trained on.
        split: The rows.
    """
    return {
        "dataset": dataset,
        "split": split.name,
        "num_examples": len(split),
        "unit": "nats per example",
        "preprocessing": split.preprocessing.description,
    }


def likelihood_line(likelihood: Mapping[str, Any]) -> str:
    """Return what importance sampling says of log p(x), and whether it is to be believed.

    Args:
        likelihood: As `comparison.score_some` gives it.
    """
    unreliable = likelihood["khat_above_0.7"]
    return (
        f"log p(x) of {likelihood['num_examples']} test rows by importance sampling, K = {likelihood['num_samples']}: "
        f"{nats(likelihood['mean'])} ± {nats(likelihood['se'])} (their ELBO {nats(likelihood['elbo_mean'])}); "
        f"k-hat above 0.7 for {unreliable:.0%}"
        + ("" if unreliable <= TOLERATED_SHARE else ", so rather a lower bound")
    )


def comparison_table(comparison: Comparison) -> str:
    """Return the table of a comparison, and how to read the linear VAE's gap."""
    dataset = comparison.dataset
    header = ["model", "value", "test", "± se", "train", "parameters", "iterations", "seconds"]
    rows = [
        [
            entry.name,
            {"exact": "log p(x)", "ELBO": "ELBO"}[entry.kind],
            *map(nats, (*entry.test, entry.train)),
            str(entry.parameters),
            str(entry.iterations),
            f"{entry.seconds:.3g}",
        ]
        for entry in comparison.entries.values()
    ]
    return "\n".join(
        [
            "",
            f"{dataset.name}, {dataset.preprocessing.description}; latent {comparison.latent_dim}; "
            f"{len(dataset.train)} training and {len(dataset.test)} test rows; nats per example",
            format_table([header, *rows]),
            *(
                f"{entry.name}: {likelihood_line(entry.likelihood)}"
                for entry in comparison.entries.values()
                if entry.likelihood
            ),
            *(_gap_lines(comparison.linear) if comparison.linear else []),
        ]
    )


def _gap_lines(linear: LinearVAE) -> list[str]:
    return [
        f"The linear VAE's training ELBO is {linear.optimum - linear.entry.train:.3f} nats below the exact optimum "
        f"({linear.optimum:.3f}):",
        f"  {linear.parameter_gap:.3f} because training stopped short of the best parameters, and",
        f"  {linear.posterior_gap:.3f} because its guide is not the exact posterior.",
        f"The leading principal directions lie within {linear.angle:.2f} degrees of its subspace.",
    ]


def write_comparison(folder: Path, comparison: Comparison) -> None:
    """Write comparison.json and, where something climbed to the exact line, climbs.png.

    Args:
        folder: Where to.
        comparison: What was fitted.
    """
    write_json(folder / "comparison.json", test_facts(comparison.dataset) | comparison.summary())
    if comparison.linear is not None:
        climbing = [comparison.entries[key] for key in ("ppca_em", "linear_vae") if key in comparison.entries]
        paths = {entry.name: entry.path for entry in climbing}
        plots.save(plots.climbs(paths, comparison.linear.optimum, NAMES["ppca"]), folder / "climbs.png")


def noticed(config: Config, dataset: DataSet) -> list[str]:
    """Return sentences on what is odd about the data, and about the settings beside it."""
    latents, columns = config.model.latent_dim, dataset.data_dim
    batch, rows = config.training.batch_size, len(dataset.train)
    odd = {
        f"z has {latents} dimensions, more than the {columns} of x.": latents > columns,
        f"A batch of {batch} holds all {rows} training rows: an epoch is one step.": batch > rows,
    }
    return [*dataset.notes, *(sentence for sentence, holds in odd.items() if holds)]


def format_table(rows: Sequence[Sequence[str]]) -> str:
    """Return rows of text as an aligned table, the first row as its header, the first column to the left."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def nats(value: float, decimals: int = 2) -> str:
    """Return a number of nats with some decimals, or with three digits where it is too large for a table."""
    return f"{value:.3g}" if abs(value) >= LARGE else f"{value:.{decimals}f}"


def bits_per_dim(elbo: float, data_dim: int, levels: int) -> float:
    """Return a bound on the bits per dimension of integers from a bound on their dequantized density.

    -(elbo / data_dim - log(levels)) / log 2 (Theis, van den Oord & Bethge 2016, section 3.1).

    Args:
        elbo: Nats per example of x in [0, 1).
        data_dim: Size of one row.
        levels: Number of integer levels.
    """
    return (math.log(levels) - elbo / data_dim) / math.log(2)
