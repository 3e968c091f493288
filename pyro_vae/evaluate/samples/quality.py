"""Sample quality: distances of samples from training rows in features of a network."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pyro_vae._checks import check, check_choice, check_integer
from pyro_vae.evaluate.samples.code_mixture import SOURCES, sampling_model
from pyro_vae.evaluate.samples.features import FeatureNetwork, features_of
from pyro_vae.evaluate.samples.frechet import FrechetDistance
from pyro_vae.evaluate.samples.images import BLOCK, TrainingImages
from pyro_vae.evaluate.samples.kernel import KernelDistance
from pyro_vae.evaluate.samples.names import metric_key
from pyro_vae.evaluate.samples.precision_recall import PrecisionRecall
from pyro_vae.evaluate.samples.reference import Reference
from pyro_vae.progress import progress_bar

__all__ = ["STATISTICS", "SampleQuality"]

STATISTICS: dict[str, Any] = {
    "frechet": FrechetDistance,
    "kernel": KernelDistance,
    "precision-recall": PrecisionRecall,
}
"""Statistics by name: classes constructed from the features of the data, and called with those of samples."""


class SampleQuality:
    """A metric of `fit`: distances of samples from training rows in the features of a network.

    Samples are means of p(x | z), as usual for variational autoencoders, with z from the prior, from a mixture fitted
    to the codes, or both; draws of p(x | z) would add independent pixel noise. Values for different numbers of
    samples, features or resolutions are not comparable; keys contain the last two.

        quality = SampleQuality(train, EfficientNetLite0Features(96), data_shape=(3, 32, 32))
        fit(model, guide, train, validation, metrics={"samples": quality}, metrics_every=5)

    Args:
        train: Training rows that are images, in any container that `fit` takes.
        network: The feature network.
        statistics: Names in `STATISTICS`: Fréchet distance, kernel distance, precision and recall.
        sources: Sources of z, names in `SOURCES`.
        num_samples: Number of samples per source.
        num_reference: Maximum number of evenly spaced training rows to compare with.
        data_shape: Shape of a row; needed for a `Split` and for flat rows.
        progress: Whether to show a progress bar while the features of the training rows are computed.

    Raises:
        InputError: If the rows are not images, or there are fewer samples or rows than a statistic needs.
        MissingPackageError: If a package is missing.
    """

    def __init__(
        self,
        train: Any,
        network: FeatureNetwork,
        *,
        statistics: Sequence[str] = ("frechet",),
        sources: Sequence[str] = ("prior",),
        num_samples: int = 2500,
        num_reference: int = 10_000,
        data_shape: Sequence[int] | None = None,
        progress: bool = True,
    ) -> None:
        self.train, self.network = train, network.eval()
        self.statistics = {
            name: STATISTICS[check_choice(name, STATISTICS, "statistics")] for name in statistics
        }
        self.sources = [check_choice(source, SOURCES, "sources") for source in sources]
        self.num_samples = check_integer(num_samples, "num_samples")
        self.images = TrainingImages(train, data_shape, num_reference)
        for statistic in self.statistics.values():
            statistic.check_usable(num_samples, network.num_features, "samples")
            statistic.check_usable(len(self.images), network.num_features, "training rows")
        check(
            "mixture" not in self.sources or not self.images.context,
            "Expected rows without context to draw z from a mixture of their codes; got some. Draw from the prior.",
        )
        self.reference = Reference(self.images, network, progress)
        self._fitted: dict[str, Callable[[Tensor], dict[str, float]]] = {}

    def __call__(self, model: Any, guide: Any) -> dict[str, float]:
        """Return the metrics of samples of `model` by key, such as "frechet-efficientnet-lite0-96px/prior"."""
        return self.measure(model, guide, self.num_samples)

    @property
    def keys(self) -> list[str]:
        """Keys of the metrics, including standard errors."""
        names = [name for statistic in self.statistics.values() for name in statistic.names]
        return [metric_key(name, self.network.name, source) for name in names for source in self.sources]

    @torch.no_grad()
    def measure(
        self, model: Any, guide: Any, num_samples: int, *, progress: bool = False
    ) -> dict[str, float]:
        """Return the metrics of `num_samples` samples by key; NaN if a sample is not finite.

        Args:
            model: A `GenerativeModel`.
            guide: A guide with `encode`, for samples from a mixture.
            num_samples: Number of samples per source.
            progress: Whether to show a progress bar on stderr.

        Raises:
            InputError: If the model cannot be sampled.
        """
        check(
            hasattr(model, "sample_prior") and hasattr(model, "decode"),
            f"Expected a model with `sample_prior` and `decode` to draw samples; {type(model).__name__} has none.",
        )
        values: dict[str, float] = {}
        for source in self.sources:
            sampled = sampling_model(model, guide, self.train, source)
            context = self._context(num_samples)
            z = sampled.sample_prior(num_samples, *context)
            reference = self.reference.features(z.device)
            title = f"features of samples from the {source}"
            with progress_bar(num_samples, "samples", title, shown=progress, leave=False) as bar:
                images = self._images(sampled, z, context, bar.update)
                features = features_of(self.network, images, z.device)
            values |= self._compared(features, reference, source)
        return values

    def floor(self, num_samples: int | None = None) -> dict[str, float]:
        """Return the metrics of training rows against other training rows by key, such as ".../floor".

        As many rows as samples, at most half of all, are compared with the others, which gives a lower limit for
        models. Statistics that need more rows are left out.

        Args:
            num_samples: By default that of the metric.
        """
        features = self.reference.features()
        count = self.floor_count(num_samples)
        order = torch.randperm(len(features), generator=torch.Generator().manual_seed(0))
        drawn, others = features[order[:count]], features[order[count:]]
        values: dict[str, float] = {}
        for statistic in self.statistics.values():
            if statistic is not FrechetDistance or count >= self.network.num_features:
                values |= self._keyed(statistic(others)(drawn), "floor")
        return values

    def floor_count(self, num_samples: int | None = None) -> int:
        """Return the number of training rows that `floor` compares with the others."""
        return min(num_samples or self.num_samples, len(self.images) // 2)

    def _compared(self, features: Tensor, reference: Tensor, source: str) -> dict[str, float]:
        finite = bool(features.isfinite().all())
        values: dict[str, float] = {}
        for name, statistic in self.statistics.items():
            if name not in self._fitted:
                self._fitted[name] = statistic(reference)
            found = self._fitted[name](features) if finite else dict.fromkeys(statistic.names, math.nan)
            values |= self._keyed(found, source)
        return values

    def _keyed(self, found: dict[str, float], source: str) -> dict[str, float]:
        return {metric_key(name, self.network.name, source): value for name, value in found.items()}

    def _context(self, count: int) -> tuple[Tensor, ...]:
        """Return the context of evenly spaced training rows, one per sample, with repetitions."""
        chosen = torch.from_numpy(np.linspace(0, len(self.images) - 1, count).round().astype(np.int64))
        return tuple(part[chosen] for part in self.images.context)

    def _images(
        self, model: Any, z: Tensor, context: tuple[Tensor, ...], done: Callable[[int], Any]
    ) -> Iterator[Tensor]:
        """Yield means of p(x | z) as images."""
        for chunk in zip(*(part.split(BLOCK) for part in (z, *context)), strict=True):
            yield self.images.as_images(model.decode(*chunk).mean)
            done(len(chunk[0]))
