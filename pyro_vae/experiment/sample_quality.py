"""Quality of the samples of a run: the metric by epoch, the scores at the end, and their figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyro_vae._programs import evaluation_mode
from pyro_vae.data import DataSet
from pyro_vae.evaluate.samples import SampleQuality, feature_network, metric_title, split_key
from pyro_vae.experiment.config import Config
from pyro_vae.experiment.shown import name_in_title
from pyro_vae.settings.metrics import SampleMetricPart
from pyro_vae.training.random_state import fixed_random_state

__all__ = ["SampleScores", "quality_note", "sample_quality", "score_samples", "write_quality_figure"]

FINAL_SAMPLES = 10_000
"""Number of samples of each source in a full evaluation."""
FIGURE = "sample_quality.png"


def sample_quality(config: Config, dataset: DataSet) -> SampleQuality | None:
    """Return the metric of samples of a configuration, or None.

    Args:
        config: Configuration with `training.metrics` and `run.sample_from`.
        dataset: Data set; samples are compared with its training rows.

    Raises:
        InputError: If the rows are not images, or too few, or lack the labels from which features are learned.
        MissingPackageError: If a package is missing.
    """
    parts = [part for part in config.training.parts("metrics") if isinstance(part, SampleMetricPart)]
    if not parts:
        return None
    first: Any = parts[0]  # they share their settings
    network = feature_network(
        first.features,
        size=first.feature_size,
        weights=first.feature_weights,
        data_shape=dataset.data_shape,
    )
    return SampleQuality(
        dataset.train,
        network,
        statistics=[part.statistic for part in parts],
        sources=config.run.sample_from,
        num_samples=first.metric_samples,
        data_shape=dataset.data_shape,
    )


def quality_note(quality: SampleQuality, every: int) -> str:
    """Return a description of the metric, for the opening lines of a run."""
    names = "; ".join(dict.fromkeys(metric_title(split_key(key)[0]) for key in quality.keys))
    when = "each epoch" if every == 1 else f"every {every} epochs"
    return (
        f"{names}: {when}, {quality.num_samples} means of p(x | z), z from the {' and the '.join(quality.sources)}, "
        f"against {len(quality.images)} training rows"
    )


@dataclass(frozen=True)
class SampleScores:
    """Measures of the samples with the kept weights.

    Args:
        num_samples: Samples of each source.
        num_reference: Training rows that they are compared with.
        num_floor: Training rows that are compared with the others for the floor.
        values: Measures by key, such as "frechet-efficientnet-lite0-96px/prior"; standard errors end in "_se".
        floor: The same measures of training rows against other training rows, by key.
    """

    num_samples: int
    num_reference: int
    num_floor: int
    values: Mapping[str, float]
    floor: Mapping[str, float]

    def summary(self) -> dict[str, Any]:
        """Return plain values for `summary.json`."""
        return {
            "samples": "means of p(x | z)",
            "num_samples": self.num_samples,
            "num_reference": self.num_reference,
            "num_floor": self.num_floor,
            "values": dict(self.values),
            "floor": dict(self.floor),
        }

    def lines(self) -> list[str]:
        """Return the lines of the closing table: one on the comparison, and one for each measure."""
        measures: dict[str, list[str]] = {}
        found = {**self.values, **self.floor}
        for key, value in found.items():
            measure, source = split_key(key)
            if not source.endswith("_se"):
                error = found.get(f"{key}_se")
                text = f"{value:.5g}" + (f" ± {error:.2g}" if error is not None else "")
                measures.setdefault(measure, []).append(f"{source} {text}")
        others = self.num_reference - self.num_floor
        return [
            f"samples: {self.num_samples} means of p(x | z) against {self.num_reference} training rows; floor: "
            f"{self.num_floor} training rows against the other {others}",
            *(f"  {metric_title(measure)}: {', '.join(parts)}" for measure, parts in measures.items()),
        ]


def score_samples(
    quality: SampleQuality, model: Any, guide: Any, num_samples: int | None = None, seed: int = 0
) -> SampleScores:
    """Return the measures of samples of trained programs.

    Args:
        quality: The metric.
        model: The generative program.
        guide: The inference program.
        num_samples: Samples of each source; `FINAL_SAMPLES` if None.
        seed: Seed of the samples; the random state is restored.
    """
    num_samples = num_samples or FINAL_SAMPLES
    with evaluation_mode(model, guide), fixed_random_state(seed):
        values = quality.measure(model, guide, num_samples, progress=True)
    rows = len(quality.images)
    return SampleScores(
        num_samples, rows, quality.floor_count(num_samples), values, quality.floor(num_samples)
    )


def write_quality_figure(
    folder: Path, quality: SampleQuality, history: Sequence[Mapping[str, Any]], best_epoch: int, name: str
) -> list[str]:
    """Draw the measures of samples against the epoch as a PNG file, if there are any.

    Args:
        folder: Output folder.
        quality: The metric.
        history: History of training, one dict per epoch.
        best_epoch: The epoch whose weights were kept.
        name: Name or path of the data set.

    Returns:
        A note if the picture could not be drawn.
    """
    from pyro_vae import plots  # imports matplotlib

    path = folder / FIGURE
    try:
        if any(split_key(key)[1] for line in history for key in line.get("metrics") or {}):
            sizes = f"{quality.num_samples} means of p(x | z) against {len(quality.images)} training rows"
            about = f"{name_in_title(name)}: {sizes}"
            figure = plots.sample_quality_curves(history, quality.floor(), best_epoch=best_epoch, title=about)
            plots.save(figure, path)
    except Exception as error:
        path.unlink(missing_ok=True)
        return [f"{FIGURE} could not be drawn: {' '.join(str(error).split()).rstrip('.')}."]
    return []
