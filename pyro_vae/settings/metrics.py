"""Settings of the metrics that the command line can measure."""

from __future__ import annotations

from pyro_vae.settings.part import Part

__all__ = ["MetricPart"]


class MetricPart(Part, kind="metrics", default=(), help="Measured after each epoch on the validated weights"):
    """A metric, made from the validation data."""


class ReconstructionError(
    MetricPart,
    name="reconstruction-error",
    target="pyro_vae.training.reconstruction_error:ReconstructionError",
):
    """Mean over rows of the squared distance between x and its reconstruction, in squared data units."""
