"""The lines that a run prints before training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pyro_vae.data import DataSet
from pyro_vae.experiment.config import OBJECTIVE_SETTINGS, Config, TrainingConfig
from pyro_vae.experiment.facts import noticed

__all__ = ["EPOCH_KEPT", "opening_lines"]

EPOCH_KEPT = {
    "best-elbo": "epoch with the best validation ELBO",
    "best-loss": "epoch with the best validation loss",
    "last": "last epoch",
}
"""What each rule of `--keep` is called."""


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
