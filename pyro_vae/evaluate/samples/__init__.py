"""Samples of a trained model: sources of z, and sample quality."""

from pyro_vae.evaluate.samples.classifier import ClassifierFeatures
from pyro_vae.evaluate.samples.code_mixture import (
    SOURCES,
    CodeMixture,
    sampling_model,
    training_codes,
    with_code_mixture,
)
from pyro_vae.evaluate.samples.efficientnet import EfficientNetLite0Features
from pyro_vae.evaluate.samples.features import FeatureNetwork, features_of
from pyro_vae.evaluate.samples.frechet import FrechetDistance
from pyro_vae.evaluate.samples.images import RowsAsImages, TrainingImages
from pyro_vae.evaluate.samples.inception import InceptionFeatures
from pyro_vae.evaluate.samples.kernel import KernelDistance
from pyro_vae.evaluate.samples.names import metric_key, metric_title, split_key
from pyro_vae.evaluate.samples.precision_recall import PrecisionRecall
from pyro_vae.evaluate.samples.quality import STATISTICS, SampleQuality
from pyro_vae.evaluate.samples.registry import FEATURES, feature_network

__all__ = [
    "FEATURES",
    "SOURCES",
    "STATISTICS",
    "ClassifierFeatures",
    "CodeMixture",
    "EfficientNetLite0Features",
    "FeatureNetwork",
    "FrechetDistance",
    "InceptionFeatures",
    "KernelDistance",
    "PrecisionRecall",
    "RowsAsImages",
    "SampleQuality",
    "TrainingImages",
    "feature_network",
    "features_of",
    "metric_key",
    "metric_title",
    "sampling_model",
    "split_key",
    "training_codes",
    "with_code_mixture",
]
