"""Names of sample-quality metrics: keys in files, titles in figures and tables."""

from __future__ import annotations

import re

__all__ = ["metric_key", "metric_title", "split_key"]

TITLES = {
    "frechet": "Fréchet distance",
    "kernel": "Kernel distance",
    "precision": "Precision",
    "recall": "Recall",
    "fid": "FID",
    "kid": "KID",
}
INCEPTION = {"frechet": "fid", "kernel": "kid"}
"""Names of Fréchet and kernel distance with Inception features."""
NETWORKS = {
    "efficientnet-lite0": "EfficientNet-Lite0 features",
    "classifier": "features of a classifier of these data",
    "inception": "Inception features",
    "inception-torchvision": "Inception features, torchvision's weights",
}


def metric_key(statistic: str, network: str, source: str) -> str:
    """Return the key of a metric, such as "frechet-efficientnet-lite0-96px/prior", or "fid-inception/prior".

    Args:
        statistic: Name of the statistic, with the suffix "_se" for a standard error.
        network: Name of the feature network.
        source: Source of z, or "floor".
    """
    name, error = statistic.removesuffix("_se"), "_se" if statistic.endswith("_se") else ""
    if network.startswith("inception"):
        name = INCEPTION.get(name, name)
    return f"{name}-{network}/{source}{error}"


def split_key(key: str) -> tuple[str, str]:
    """Return metric and source of z; the source is empty for other metrics."""
    measure, _, source = key.rpartition("/")
    return (measure, source) if measure else (key, "")


def metric_title(measure: str) -> str:
    """Return the title of a metric, such as "Fréchet distance, EfficientNet-Lite0 features, 96 px".

    Args:
        measure: The first part of `split_key`; other names are returned unchanged.
    """
    found = re.fullmatch(r"([a-z]+)-(.+?)(?:-(\d+)px)?", measure)
    if found is None or found[1] not in TITLES:
        return measure
    network = NETWORKS.get(found[2], f"{found[2]} features")
    return f"{TITLES[found[1]]}, {network}" + (f", {found[3]} px" if found[3] else "")
