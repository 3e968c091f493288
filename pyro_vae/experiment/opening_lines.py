"""The lines that a run prints before training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pyro_vae.data import DataSet
from pyro_vae.experiment.config import Config, TrainingConfig
from pyro_vae.experiment.provenance import data_notes
from pyro_vae.settings.declare import shown_settings

__all__ = ["EPOCH_KEPT", "opening_lines"]

EPOCH_KEPT = {
    "best-elbo": "epoch with the best validation ELBO",
    "best-loss": "epoch with the best validation loss",
    "last": "last epoch",
}
"""Description of each rule of `--keep`."""


def opening_lines(config: Config, dataset: DataSet, folder: Path, notes: Sequence[str] = ()) -> list[str]:
    """Return the lines printed before training: data, preprocessing and settings."""
    model, training = config.model, config.training
    splits = (dataset.train, dataset.validation, dataset.test)
    rows = " / ".join(str(len(split)) for split in splits)
    network, guide = model.part("network"), model.part("guide")
    sizes = f"{dataset.data_dim}-{network.layers()}-{model.path}, mirrored"
    most = "" if training.patience == "none" else "at most "
    return [
        f"data       {dataset.name}: {rows} rows (train / validation / test), {dataset.data_dim} columns",
        f"x          {dataset.description}",
        *(f"note       {note}" for note in (*notes, *data_notes(config, dataset))),
        *(f"{'' if k else 'columns':<10} {line}" for k, line in enumerate(dataset.kinds)),
        f"likelihood {_likelihood(model)}",
        f"networks   {', '.join([network.name, sizes, *shown_settings(network), *shown_settings(model, model.own)])}",
        f"programs   guide {model.guide_line}" + ("" if guide.is_point else f"; prior {_prior(model)}"),
        *([f"context    {model.part('context').line()}"] if model.context != "none" else []),
        *([f"guide sees {seen}"] if (seen := model.part("corrupt").seen()) else []),
        *([f"weights    from {config.run.start}"] if config.run.start is not None else []),
        f"loss       {_loss(config)}",
        f"training   {most}{', '.join(shown_settings(training, training.own))}",
        f"kept       {_kept(training)}",
        f"run        {folder}",
    ]


def _likelihood(model: Any) -> str:
    """Return the line of the likelihood."""
    if model.part("guide").is_point:
        return f"none, an autoencoder; x is prepared as for {model.likelihood}"
    line: str = model.part("likelihood").line()
    return line


def _prior(model: Any) -> str:
    """Return the description of the prior: of z, or of z given the context."""
    conditional = getattr(model.part("context"), "context_prior", False)
    return "normal given the context" if conditional else str(model.part("prior").line())


def _loss(config: Config) -> str:
    """Return the description of the loss."""
    training, guide = config.training, config.model.part("guide")
    if guide.is_point:
        error, *penalties = shown_settings(guide)
        return ", ".join([f"{error} of the reconstructions", *penalties])
    particles = f"{training.num_particles} particle" + "s" * (training.num_particles > 1)
    return f"minus {training.part('objective').line()}, {particles}"


def _kept(training: TrainingConfig) -> str:
    """Return the rule for the kept weights and for early stopping, such as "the epoch with the best ... ELBO"."""
    average = f", each the mean over the last {training.average:.3g} of its steps" if training.average else ""
    patience = (
        "" if training.patience == "none" else f"; ends after {training.patience} epochs without a better one"
    )
    return f"weights of the {EPOCH_KEPT[training.keep]}{average}{patience}"
