"""Settings of the metrics that the command line can measure."""

from __future__ import annotations

from pyro_vae.settings.part import Part

__all__ = ["MetricPart"]


class MetricPart(Part, kind="metrics", default=(), help="Measured after each epoch on the validated weights"):
    """A metric, made from the validation data."""
