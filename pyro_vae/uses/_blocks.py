"""How many rows are worked on together."""

from __future__ import annotations

from typing import Any

__all__ = ["rows_at_once"]

OUTPUTS = 2**25
"""Numbers that a decoder gives at once: 128 MiB in single precision."""


def rows_at_once(model: Any, samples: int, most: int) -> int:
    """Return how many rows, of so many samples each, may be decoded together; at most `most`.

    Args:
        model: The generative program; one without a `likelihood` counts as one of few outputs.
        samples: Codes of a row that are decoded together.
        most: Rows where memory allows them.
    """
    outputs = getattr(getattr(model, "likelihood", None), "num_outputs", 1)
    return max(1, min(most, OUTPUTS // (outputs * samples)))
