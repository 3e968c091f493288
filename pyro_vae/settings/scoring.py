"""Settings that the scripts share which score rows by samples of z."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["ScoringOptions"]


@dataclass(frozen=True, kw_only=True)
class ScoringOptions:
    """How z is sampled for the scores of rows, and on what."""

    num_samples: int = 5000
    """Samples of z for each row."""
    widen: float = 1.0
    """Draw from the guide made so many times as wide, where its weights have heavy tails."""
    defensive: float = 0.0
    """Share of the samples that are drawn from the prior."""
    seed: int = 0
    """Of the noise."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto takes CUDA where there is one."""
    quiet: bool = False
    """Show no progress bars."""
