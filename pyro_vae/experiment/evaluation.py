"""Evaluation of the trained programs at the end of a run, on all rows or on fewer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from pyro_vae._checks import InputError
from pyro_vae.data import DataSet, Split
from pyro_vae.evaluate import LogLikelihood
from pyro_vae.evaluate.decomposition import DivergenceInParts, divergence_in_parts
from pyro_vae.evaluate.denoising import DenoisingErrors, denoising_errors
from pyro_vae.evaluate.samples import SampleQuality
from pyro_vae.experiment.autoencoder import Errors, measure_errors, trained_error
from pyro_vae.experiment.class_accuracy import accuracy_of
from pyro_vae.experiment.comparison import (
    Entry,
    linear_baselines,
    no_density,
    score_rows,
    scores_summary,
)
from pyro_vae.experiment.config import Config
from pyro_vae.experiment.extent import PARTICLES, QUICK_ROWS, Extent
from pyro_vae.experiment.layers_summary import Layers, measure_layers
from pyro_vae.experiment.sample_quality import SampleScores, score_samples
from pyro_vae.experiment.shared_blocks import shared_blocks
from pyro_vae.likelihoods.base import fill_constant
from pyro_vae.likelihoods.noiseless import has_one_unit
from pyro_vae.likelihoods.registry import LIKELIHOODS
from pyro_vae.networks.corruption import corruption_of
from pyro_vae.objectives import ElboEstimate, estimate_elbo
from pyro_vae.processes import Processes

__all__ = ["Evaluation", "evaluate"]


@dataclass(frozen=True)
class Evaluation:
    """The evaluation of the kept weights.

    Args:
        extent: Extent of the evaluation.
        estimates: The ELBO of the rows of each split, by its name.
        scores: log p(x) of `dataset.test.evenly_spaced(extent.scored_rows)` by importance sampling; None if it is
            not estimated.
        baselines: Results of linear models on the same rows, or the reason why there are none.
        samples: Distances of samples from training rows; None if it is not measured.
        denoising: Distances of denoised test rows from the clean ones; None if the guide was trained on clean rows.
        errors: Errors of an autoencoder, which has neither ELBO nor log p(x); None for a model with a likelihood.
        accuracy: Accuracy of the classes of each split, by its name; empty if the guide has no classifier.
        layers: Summary of several latent layers; None if there is one.
        divergence: KL(q(z | x) || p(z)) of test rows in three parts, if the objective weights them; else None.
        notes: Sentences on what could not be evaluated.
    """

    extent: Extent
    estimates: dict[str, ElboEstimate] = field(default_factory=dict)
    scores: LogLikelihood | None = None
    baselines: dict[str, Entry | str] = field(default_factory=dict)
    samples: SampleScores | None = None
    errors: Errors | None = None
    accuracy: dict[str, dict[str, float]] = field(default_factory=dict)
    layers: Layers | None = None
    divergence: DivergenceInParts | None = None
    denoising: DenoisingErrors | None = None
    notes: tuple[str, ...] = ()

    @property
    def likelihood(self) -> dict[str, Any] | None:
        """Summary of `scores`, see `scores_summary`."""
        return None if self.scores is None else scores_summary(self.scores)

    def summary(self) -> dict[str, Any]:
        """Return the numbers of the test split by name, nats per example; null if not available."""
        test = self.estimates.get("test")
        elbo = None if test is None else {"mean": test.mean, "se": test.se, "num_examples": len(test.value)}
        baselines = {
            key: {"not_fitted": entry}
            if isinstance(entry, str)
            else dict(zip(("mean", "se"), entry.test, strict=True))
            for key, entry in self.baselines.items()
        }
        return {
            "evaluation": self.extent.kind,
            "elbo": elbo,
            "log_likelihood": self.likelihood,
            "baselines": baselines,
            "accuracy": self.accuracy,
            "sample_quality": self.samples.summary() if self.samples else {},
            **({"layers": self.layers.summary()} if self.layers else {}),
            **({"divergence": self.divergence.summary()} if self.divergence else {}),
            "notes": list(self.notes),
            **({"reconstruction_error": self.errors.summary()} if self.errors else {}),
            **({"denoising": self.denoising.summary()} if self.denoising else {}),
        }


def evaluate(
    extent: Extent,
    config: Config,
    dataset: DataSet,
    model: Any,
    guide: Any,
    processes: Processes,
    quality: SampleQuality | None = None,
) -> Evaluation:
    """Evaluate trained programs; every process calls it, and all get the same numbers.

    Args:
        extent: Extent of the evaluation.
        config: Resolved.
        dataset: The data set of the training run.
        model: The generative program.
        guide: The inference program.
        processes: Processes that share the rows; the first one shows the progress.
        quality: The metric of samples; the first process measures it in a full evaluation.
    """
    if extent.kind == "none":
        return Evaluation(extent)
    notes: list[str] = []
    errors = trained_error(config)
    if errors is not None:
        found = measure_errors(errors, config, dataset, model, guide, processes, extent.rows)
        samples = _samples(extent, model, guide, processes, quality, notes)
        denoising = _denoising(extent, dataset, model, guide, processes)
        return Evaluation(extent, samples=samples, errors=found, denoising=denoising, notes=tuple(notes))
    device, shown = torch.device(config.training.device), processes.rank == 0
    estimates = {
        split.name: _elbo(model, guide, _evaluated_rows(extent, split), device, processes)
        for split in (dataset.train, dataset.validation, dataset.test)
    }
    notes += [note for name, estimate in estimates.items() if (note := _not_finite(name, estimate.value))]
    scores = _scores(extent, dataset, model, guide, device, processes, notes)
    baselines = _baselines(extent, config, dataset, processes)
    samples = _samples(extent, model, guide, processes, quality, notes)
    is_divided = config.training.objective == "tc" and shown
    return Evaluation(
        extent,
        estimates,
        scores,
        baselines,
        samples,
        accuracy=accuracy_of(guide, dataset),
        layers=measure_layers(model, guide, dataset.test) if config.model.layers and shown else None,
        denoising=_denoising(extent, dataset, model, guide, processes),
        divergence=divergence_in_parts(model, guide, dataset.test.evenly_spaced(QUICK_ROWS))
        if is_divided
        else None,
        notes=tuple(notes),
    )


def _evaluated_rows(extent: Extent, split: Split) -> Split:
    return split if extent.rows is None else split.evenly_spaced(extent.rows)


def _scores(
    extent: Extent,
    dataset: DataSet,
    model: Any,
    guide: Any,
    device: torch.device,
    processes: Processes,
    notes: list[str],
) -> LogLikelihood | None:
    """Return log p(x) of test rows by importance sampling; a failure of a single process becomes a note."""
    try:
        return score_rows(
            model,
            guide,
            dataset.test,
            device,
            processes,
            num_rows=extent.scored_rows,
            progress=processes.rank == 0,
        )
    except (InputError, ArithmeticError, MemoryError) as error:
        if processes.count > 1:
            raise  # the others wait for this one's rows
        notes.append(f"log p(x) could not be estimated: {error}")
        return None


def _baselines(
    extent: Extent, config: Config, dataset: DataSet, processes: Processes
) -> dict[str, Entry | str]:
    """Return results of linear models in a full evaluation, or the reason for their absence, by name."""
    if extent.kind != "full" or LIKELIHOODS[config.model.likelihood].kind == "binary":
        return {}
    if reason := no_density(dataset):
        return {"ppca": reason}
    return dict(linear_baselines(dataset, config.model.sizes[0], processes, progress=processes.rank == 0))


def _denoising(
    extent: Extent, dataset: DataSet, model: Any, guide: Any, processes: Processes
) -> DenoisingErrors | None:
    """Return the errors of denoised test rows, in the first process."""
    if corruption_of(guide) is None or processes.rank > 0:
        return None
    rows = _evaluated_rows(extent, dataset.test)
    is_real = model.likelihood.kind == "continuous"
    one_unit = has_one_unit(dataset.data_shape, dataset.preprocessing.levels) or not is_real
    return denoising_errors(model, guide, rows, None if one_unit else fill_constant(dataset.statistics()[1]))


def _samples(
    extent: Extent,
    model: Any,
    guide: Any,
    processes: Processes,
    quality: SampleQuality | None,
    notes: list[str],
) -> SampleScores | None:
    """Return the distances of samples from training rows, None if not measured; a failure becomes a note."""
    if quality is None or extent.kind != "full" or processes.rank > 0:
        return None
    try:
        return score_samples(quality, model, guide)
    except (InputError, ArithmeticError, MemoryError) as error:
        notes.append(f"Samples could not be compared with training rows: {error}")
        return None


def _elbo(model: Any, guide: Any, split: Split, device: torch.device, processes: Processes) -> ElboEstimate:
    blocks = shared_blocks(split, device, processes, f"ELBO of {split.name} rows")
    found = estimate_elbo(model, guide, blocks, PARTICLES, seed=processes.seed(0))
    return ElboEstimate(*(processes.gather(part) for part in (found.reconstruction, found.kl)))


def _not_finite(name: str, values: Tensor) -> str:
    """Return a sentence on rows without a finite value, and the mean of the others; empty if there are none."""
    finite = values.isfinite()
    if finite.all():
        return ""
    rows = (~finite).nonzero()[:, 0].tolist()
    shown = ", ".join(map(str, rows[:5])) + (", ..." if len(rows) > 5 else "")
    others = f"; the mean of the others is {values[finite].mean():.2f}" if finite.any() else ""
    return f"The ELBO is not finite for {len(rows)} of {len(values)} {name} rows (number {shown}){others}."
