"""Reconstruction errors of an autoencoder, compared with those of principal components."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from pyro_vae.data import DataSet, Split
from pyro_vae.data.row_format import RowFormat
from pyro_vae.evaluate.reconstruction import RowErrors, reconstruction_errors
from pyro_vae.experiment.config import Config
from pyro_vae.experiment.resolve import objective
from pyro_vae.experiment.shared_blocks import shared_blocks
from pyro_vae.likelihoods.noiseless import has_one_unit
from pyro_vae.objectives import Reconstruction
from pyro_vae.processes import Processes
from pyro_vae.statistics import mean_and_se

__all__ = ["Errors", "measure_errors", "trained_error", "unit_of_error"]

LARGEST = 2**28
"""Largest number of entries of the training rows for which principal components are computed."""


@dataclass(frozen=True)
class Errors:
    """The errors of a run's reconstructions.

    Args:
        by_split: Errors of the rows of each split.
        unit: Unit of the errors.
        principal: Mean squared error of the test rows with the same number of principal components, and its standard
            error; None if another error was trained, or there are too many rows.
    """

    by_split: Mapping[str, RowErrors]
    unit: str
    principal: tuple[float, float] | None

    def summary(self) -> dict[str, Any]:
        """Return the numbers of the test split by name, for `summary.json`."""
        mean, se = self.principal or (None, None)
        principal = {} if mean is None else {"principal_components": {"mean": mean, "se": se}}
        return {"unit": self.unit} | self.by_split["test"].summary() | principal

    def cells(self) -> list[list[str]]:
        """Return the table of errors, which replaces that of the ELBO, with its header first."""
        header = ["split", "rows", "error", "± se", "squared norm of z"]
        rows = [
            [
                name,
                str(len(found.value)),
                f"{found.mean:.5g}",
                f"{found.se:.2g}",
                f"{float(found.squared_norm.mean()):.4g}",
            ]
            for name, found in self.by_split.items()
        ]
        return [header, *rows]

    def line(self, latent_dim: int) -> str:
        """Return the notes on the table."""
        if self.principal is None:
            return ""
        mean, se = self.principal
        return (
            f"error of the same test rows, clean, by {latent_dim} principal components: {mean:.5g} ± {se:.2g}"
        )


def trained_error(config: Config) -> Reconstruction | None:
    """Return the objective of an autoencoder; None if the guide has a density."""
    guide = config.model.part("guide")
    made = objective(config.training, guide) if guide.is_point else None
    assert made is None or isinstance(made, Reconstruction)
    return made


def unit_of_error(config: Config, dataset: DataSet | RowFormat) -> str:
    """Return the unit of an autoencoder's errors, such as "squared error, summed over 64 columns"."""
    over = f"summed over the {dataset.data_dim} columns of a row"
    if config.model.reconstruction == "cross-entropy":
        return f"cross-entropy in nats, {over}"
    unit = "standard deviations of columns" if _is_scaled(config, dataset) else "data units"
    return f"{config.model.reconstruction} error in {unit}, {over}"


def _is_scaled(config: Config, dataset: DataSet | RowFormat) -> bool:
    """Return whether errors are counted in standard deviations of each column."""
    is_binary = config.model.part("likelihood").error == "cross-entropy"
    return not (is_binary or has_one_unit(dataset.data_shape, dataset.preprocessing.levels))


def measure_errors(
    wanted: Reconstruction,
    config: Config,
    dataset: DataSet,
    model: Any,
    guide: Any,
    processes: Processes,
    num_rows: int | None = None,
) -> Errors:
    """Measure the errors of a trained autoencoder; every process calls it, and all get the same numbers.

    Args:
        wanted: Error that training minimised.
        config: Resolved.
        dataset: The data set of the training run.
        model: The generative program.
        guide: The guide, a point estimate.
        processes: Processes that share the rows.
        num_rows: Rows of each split, evenly spaced; all if None.
    """
    found = {}
    for split in (dataset.train, dataset.validation, dataset.test):
        rows = split if num_rows is None else split.evenly_spaced(num_rows)
        found[split.name] = _errors(
            wanted, model, guide, rows, torch.device(config.training.device), processes
        )
    principal = None
    if wanted.error == "squared" and len(dataset.train) * dataset.data_dim <= LARGEST and num_rows is None:
        principal = _principal_error(dataset, config.model.latent_dim, scaled=_is_scaled(config, dataset))
    return Errors(found, unit_of_error(config, dataset), principal)


def _errors(
    wanted: Reconstruction, model: Any, guide: Any, split: Split, device: torch.device, processes: Processes
) -> RowErrors:
    blocks = shared_blocks(split, device, processes, f"errors of {split.name} rows")
    errors = reconstruction_errors(model, guide, blocks, wanted)
    value, squared_norm = map(processes.gather, (errors.value, errors.squared_norm))
    return RowErrors(value, squared_norm, errors.error)


def _principal_error(dataset: DataSet, latent_dim: int, *, scaled: bool) -> tuple[float, float]:
    """Return the mean squared error of test rows with `latent_dim` principal components, and its standard error.

    The components of the training rows are the best linear autoencoder (Baldi & Hornik 1989).
    """
    train, test = (split.tensor().double().numpy() for split in (dataset.train, dataset.test))
    if scaled:
        std = dataset.statistics()[1].numpy()
        std = np.where(std > 0, std, 1.0)
        train, test = train / std, test / std
    mean = train.mean(0)
    _, axes = np.linalg.eigh(np.cov(train.T).reshape(dataset.data_dim, -1))
    leading, rest = axes[:, -latent_dim:], test - mean
    errors = np.square(rest - rest @ leading @ leading.T).sum(1)
    return mean_and_se(torch.from_numpy(errors))
