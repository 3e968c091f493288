"""Summary of the latent layers of a trained run: divergence and active dimensions of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pyro_vae.data import Split
from pyro_vae.evaluate.latent import SiteSummary, site_summaries

__all__ = ["Layers", "measure_layers"]

ROWS = 1000
"""Largest number of test rows."""


@dataclass(frozen=True)
class Layers:
    """Divergence and active dimensions of each latent layer, on some rows.

    Args:
        num_rows: Number of rows.
        sites: Divergence and active dimensions by layer.
    """

    num_rows: int
    sites: Mapping[str, SiteSummary]

    def summary(self) -> dict[str, Any]:
        """Return plain values for `summary.json`, nats per example."""
        layers = {name: site.summary() for name, site in self.sites.items()}
        return {"num_rows": self.num_rows} | dict(sorted(layers.items()))

    def line(self) -> str:
        """Return the line of the closing table."""
        text = "; ".join(
            f"{name} KL {site.kl:.2f} ± {site.kl_se:.2f}, {site.active_units} of {len(site.mean_variance)} dimensions "
            "active"
            for name, site in sorted(self.sites.items())
        )
        return f"latent layers, {self.num_rows} test rows: {text}"


def measure_layers(model: Any, guide: Any, test: Split) -> Layers:
    """Return the divergence and active dimensions of each latent layer on evenly spaced test rows.

    Args:
        model: The generative program, of several latent sites.
        guide: The inference program.
        test: The test split.
    """
    rows = test.evenly_spaced(ROWS)
    return Layers(len(rows), site_summaries(model, guide, rows))
