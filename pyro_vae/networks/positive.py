"""The map from a network's output to a scale."""

from __future__ import annotations

import math

__all__ = ["UNIT"]

UNIT = math.log(math.e - 1)
"""softplus(UNIT) = 1: a network's output of zero then means a scale of one."""
