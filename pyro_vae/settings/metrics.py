"""Metrics that the command line can measure each epoch."""

from __future__ import annotations

from pyro_vae.settings.part import Part

__all__ = ["MetricPart"]


class MetricPart(Part, kind="metric", default="", help="Measured each epoch on the validated weights"):
    """A metric, made from the validation data."""


class ReconstructionError(
    MetricPart, name="reconstruction-error", target="pyro_vae.training.metrics:ReconstructionError"
):
    """Squared distance between x and its reconstruction, mean over rows, in squared data units."""
