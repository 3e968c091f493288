"""Feature networks by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pyro_vae._checks import check, check_choice
from pyro_vae.evaluate.samples.classifier import ClassifierFeatures
from pyro_vae.evaluate.samples.efficientnet import EfficientNetLite0Features
from pyro_vae.evaluate.samples.features import FeatureNetwork
from pyro_vae.evaluate.samples.inception import InceptionFeatures

__all__ = ["FEATURES", "feature_network"]

FEATURES = ("efficientnet-lite0", "classifier", "inception")
"""Names of the feature networks."""


def feature_network(
    name: str, *, size: int = 96, weights: Path | None = None, data_shape: Sequence[int] = ()
) -> FeatureNetwork:
    """Return a feature network by name.

    Args:
        name: One of `FEATURES`.
        size: Resolution for EfficientNet-Lite0, in pixels.
        weights: File with weights of Inception.
        data_shape: Shape of the images, for the classifier.

    Raises:
        InputError: If the name is unknown, or the weights are of another network.
        MissingPackageError: If a package is missing.
    """
    check_choice(name, FEATURES, "features")
    if name == "efficientnet-lite0":
        return EfficientNetLite0Features(size)
    if name == "classifier":
        return ClassifierFeatures(data_shape)
    check(
        weights is not None, "Expected --feature-weights with --features inception: the file of its weights."
    )
    assert weights is not None
    return InceptionFeatures(weights)
