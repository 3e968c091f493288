"""The table that ends a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pyro_vae.data import DataSet
from pyro_vae.experiment.autoencoder import unit_of_error
from pyro_vae.experiment.class_accuracy import accuracy_line
from pyro_vae.experiment.comparison import BOUND, NAMES, Entry
from pyro_vae.experiment.config import Config
from pyro_vae.experiment.evaluation import Evaluation
from pyro_vae.experiment.opening_lines import EPOCH_KEPT
from pyro_vae.experiment.provenance import data_notes
from pyro_vae.experiment.text_table import bits_cells, format_table, likelihood_line, nats
from pyro_vae.training import FitResult

__all__ = ["Closing", "closing", "closing_table"]


@dataclass(frozen=True)
class Closing:
    """The results that are printed at the end of a run.

    Args:
        title: Data, preprocessing, model and unit.
        cells: A table of the splits as text, its header first; empty if nothing was evaluated.
        lines: Sentences that follow it.
    """

    title: str
    cells: list[list[str]]
    lines: list[str]

    def text(self) -> str:
        """Return the results as text."""
        return "\n".join(["", self.title, *([format_table(self.cells)] if self.cells else []), *self.lines])

    def summary(self) -> dict[str, Any]:
        """Return the results as plain values."""
        return asdict(self)


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
        dataset: The data set of the training run.
        evaluation: Evaluation of the kept weights.
        result: Result of `fit`.
        folder: Folder of the run.
    """
    return f"{closing(config, dataset, evaluation, result).text()}\nrun in {folder}"


def closing(config: Config, dataset: DataSet, evaluation: Evaluation, result: FitResult) -> Closing:
    """Return the results that are printed at the end of a run; for the arguments see `closing_table`."""
    errors = evaluation.errors
    cells = _estimates(evaluation, dataset) if evaluation.estimates else errors.cells() if errors else []
    notes = (
        *evaluation.notes,
        *data_notes(config, dataset),
        result.note,
        result.early_note,
        result.metrics_note,
    )
    lines = [
        f"{'ELBO at the weights' if evaluation.estimates else 'Weights'} of the {EPOCH_KEPT[result.kept_by]} (epoch "
        f"{result.best_epoch} of {len(result.history)}, ended by {result.stopped}); trained in "
        f"{result.seconds:.1f} s" + _compiling(result),
        f"the guide saw {seen}" if (seen := config.model.part("corrupt").seen()) else "",
        evaluation.denoising.line() if evaluation.denoising else "",
        errors.line(config.model.latent_dim) if errors else "",
        _metrics_line(result),
        likelihood_line(evaluation.likelihood) if evaluation.likelihood else "",
        accuracy_line(evaluation.accuracy),
        evaluation.layers.line() if evaluation.layers else "",
        evaluation.divergence.line() if evaluation.divergence else "",
        *(evaluation.samples.lines() if evaluation.samples else ()),
        *_baseline_lines(evaluation.baselines, config.model.sizes[0], dataset),
        _extent_sentence(evaluation),
        *(f"note: {note}" for note in notes if note),
    ]
    return Closing(_title(config, dataset), cells, list(filter(None, lines)))


def _estimates(evaluation: Evaluation, dataset: DataSet) -> list[list[str]]:
    """Return the table of the ELBO and its terms for each split, its header first."""
    in_bits = dataset.preprocessing.levels is not None
    header = ["split", "rows", "ELBO", "± se", "reconstruction", "KL"] + ["bits/dim"] * in_bits
    rows = []
    for name, estimate in evaluation.estimates.items():
        terms = float(estimate.reconstruction.mean()), float(estimate.kl.mean())
        numbers = map(nats, (estimate.mean, estimate.se, *terms))
        rows.append([name, str(len(estimate.value)), *numbers, *bits_cells(estimate.mean, dataset)])
    return [header, *rows]


def _title(config: Config, dataset: DataSet) -> str:
    kind, unit = f"{config.model.likelihood} likelihood", "nats per example"
    if config.model.part("guide").is_point:
        kind, unit = "autoencoder without a likelihood", unit_of_error(config, dataset)
    return f"{dataset.name}, {dataset.description}; {kind}, latent {config.model.latent_size}; {unit}"


def _extent_sentence(evaluation: Evaluation) -> str:
    if evaluation.errors is None or evaluation.extent.kind != "quick":
        return evaluation.extent.sentence
    return (
        f"Quick evaluation: the errors of at most {evaluation.extent.rows} evenly spaced rows of each split."
    )


def _compiling(result: FitResult) -> str:
    return f", {result.compile_seconds:.1f} s of it compiling" if result.compile_seconds else ""


def _metrics_line(result: FitResult) -> str:
    """Return the metrics of the kept weights; empty if none were measured."""
    description = ", ".join(
        f"{name} {value:.6g}"
        + (f" ± {result.metrics[f'{name}_se']:.2g}" if f"{name}_se" in result.metrics else "")
        for name, value in result.metrics.items()
        if not name.endswith("_se") or name.removesuffix("_se") not in result.metrics
    )
    return f"metrics at these weights: {description}" if description else ""


def _baseline_lines(baselines: Mapping[str, Entry | str], latent_dim: int, dataset: DataSet) -> list[str]:
    """Return the exact log-likelihoods of the test rows for comparison, or the reason for their absence."""
    fitted = [entry for entry in baselines.values() if not isinstance(entry, str)]
    description = "; ".join(_baseline(entry, dataset) for entry in fitted)
    what = "exact log p(x)" if dataset.as_density() is dataset else f"{BOUND},"
    given = ", of residuals of a regression on the context" if dataset.is_conditional else ""
    lines = [f"{what} of the same test rows, latent {latent_dim}{given}: {description}"] if fitted else []
    return lines + [f"{NAMES[key]} {entry}" for key, entry in baselines.items() if isinstance(entry, str)]


def _baseline(entry: Entry, dataset: DataSet) -> str:
    bits = "".join(f" ({bits} bits/dim)" for bits in bits_cells(entry.test[0], dataset))
    return f"{entry.name} {nats(entry.test[0])} ± {nats(entry.test[1])}{bits}"
