"""Settings of the scripts that score rows with samples of z."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["ScoringOptions"]


@dataclass(frozen=True, kw_only=True)
class ScoringOptions:
    """Sampling of z for the scores of rows, and the device."""

    num_samples: int = 5000
    """Samples of z for each row."""
    widen: float = 1.0
    """Factor on the guide's scale for drawing samples; above 1 it helps if the weights have heavy tails."""
    defensive: float = 0.0
    """Share of the samples that are drawn from the prior."""
    seed: int = 0
    """Seed of the noise."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto uses CUDA if it is available."""
    quiet: bool = False
    """Show no progress bars."""
