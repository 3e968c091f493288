"""Block sizes that bound memory."""

from __future__ import annotations

from typing import Any

__all__ = ["rows_at_once"]

OUTPUTS = 2**25
"""Maximum number of decoder outputs at once: 128 MiB in single precision."""


def rows_at_once(model: Any, samples: int, most: int) -> int:
    """Return the number of rows that are decoded together, with `samples` codes each.

    Args:
        model: The generative program; without a `likelihood`, few outputs are assumed.
        samples: Codes per row that are decoded together.
        most: Maximum number of rows.
    """
    outputs = getattr(getattr(model, "likelihood", None), "num_outputs", 1)
    return max(1, min(most, OUTPUTS // (outputs * samples)))
