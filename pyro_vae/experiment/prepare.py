"""Preparation of programs for training from a configuration and its data."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pyro_vae.data import DataSet
from pyro_vae.evaluate.samples import SampleQuality
from pyro_vae.experiment.build import build, starting_rows
from pyro_vae.experiment.config import Config
from pyro_vae.experiment.resolve import fit_settings, objective_of, resolve
from pyro_vae.experiment.sample_quality import sample_quality
from pyro_vae.guides import AmortizedGuide
from pyro_vae.models.generative import GenerativeModel
from pyro_vae.settings.metrics import SampleMetricPart
from pyro_vae.training import FitResult, Trainer, fit, make_trainer, resolve_device

__all__ = ["Prepared", "prepare"]


@dataclass(frozen=True)
class Prepared:
    """Programs with fresh weights, their data, and the settings of their training.

    Args:
        config: Resolved.
        dataset: The data set of the training run.
        model: The generative program.
        guide: The inference program.
    """

    config: Config
    dataset: DataSet
    model: GenerativeModel
    guide: AmortizedGuide

    def fit(self, **changes: Any) -> FitResult:
        """Train both programs.

        Args:
            changes: Arguments of `fit` that replace those of the configuration.
        """
        return fit(self.model, self.guide, **self._settings | changes)

    def trainer(self, **changes: Any) -> Trainer:
        """Return the trainer that `fit` runs.

        Args:
            changes: Arguments of `make_trainer` that replace those of the configuration.
        """
        return make_trainer(self.model, self.guide, **self._settings | changes)

    @cached_property
    def quality(self) -> SampleQuality | None:
        """The metric of samples; None if the configuration names none."""
        return sample_quality(self.config, self.dataset)

    @property
    def _settings(self) -> dict[str, Any]:
        data = {"train": self.dataset.train, "validation": self.dataset.validation}
        metrics: dict[str, Any] = {
            part.name: part.make(self.dataset.validation)
            for part in self.config.training.parts("metrics")
            if not isinstance(part, SampleMetricPart)
        }
        if self.quality is not None:
            metrics["samples"] = self.quality
        settings = fit_settings(self.config.training, self.config.model.part("guide"))
        return data | settings | {"metrics": metrics, "objective": objective_of(self.config, self.dataset)}


def prepare(config: Config, dataset: DataSet) -> Prepared:
    """Choose the settings that a configuration leaves open, and build its programs.

    Args:
        config: Configuration as parsed, or resolved.
        dataset: The data set to train on; the scales of the networks and of the likelihood are computed from its
            training rows.

    Raises:
        InputError: If a setting does not fit the data or the machine.
    """
    device = resolve_device(config.training.device)
    mean, std = dataset.statistics()
    config = resolve(config, dataset, std, device.type)
    rows = starting_rows(config.model, dataset.train)
    levels = dataset.preprocessing.levels
    model, guide = build(
        config.model,
        mean,
        std,
        config.training.seed,
        rows,
        dataset.data_shape,
        levels=levels,
        context=dataset.context,
        columns=dataset.columns,
    )
    return Prepared(config, dataset, model, guide)
