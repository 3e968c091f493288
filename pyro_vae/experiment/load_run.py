"""A run read back from its folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch

from pyro_vae.data.row_format import RowFormat
from pyro_vae.experiment.build import build
from pyro_vae.experiment.checkpoint import load_weights
from pyro_vae.experiment.config import Config, from_json
from pyro_vae.experiment.run_folder import RunFolder
from pyro_vae.experiment.saved_config import read_config
from pyro_vae.guides import AmortizedGuide
from pyro_vae.models.generative import GenerativeModel

__all__ = ["Run", "load_run"]


class Run(NamedTuple):
    """A run read back from its folder."""

    model: GenerativeModel
    guide: AmortizedGuide
    config: Config
    info: dict[str, Any]
    """The entries of config.json other than the configuration: data, rows, versions."""

    @property
    def row_format(self) -> RowFormat | None:
        """Format of the training rows; None for a run of version 0.1.0, whose folder does not contain it."""
        return RowFormat.from_json(self.info["rows"]) if "rows" in self.info else None


def load_run(path: str | Path, device: str | torch.device = "cpu") -> Run:
    """Read a run back: model and guide with the best weights, in evaluation mode, and the configuration.

    Args:
        path: The run's folder.
        device: Device of the programs.

    Raises:
        InputError: If the folder contains no run, or its weights are missing, damaged or of other settings.
    """
    folder = RunFolder(Path(path).expanduser())
    values = read_config(folder.path)
    config = from_json(values.pop("config"))
    data_shape = torch.Size(values["data"]["data_shape"])
    # Mean and scale of the data are loaded with the weights: these are placeholders.
    ones = torch.ones(data_shape.numel())
    rows = RowFormat.from_json(values["rows"]) if "rows" in values else None
    known: dict[str, Any] = {}
    if rows is not None:
        known = {"levels": rows.preprocessing.levels, "context": rows.context, "columns": rows.columns}
    model, guide = build(config.model, 0.5 * ones, ones, data_shape=data_shape, **known)
    load_weights(folder.weights, model, guide)
    return Run(model.to(device).eval(), guide.to(device).eval(), config, values)
