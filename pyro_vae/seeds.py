"""Seeds derived from one seed, so that the noise at different places of a computation is independent."""

from __future__ import annotations

import numpy as np

__all__ = ["derive_seed", "derive_seeds"]


def derive_seed(seed: int, *place: int) -> int:
    """Return the seed of the noise at a place, such as (process, epoch, step) or the first row of a block.

    Args:
        seed: At least 0.
        place: Integers of at least 0; equally many for places of one kind, since trailing zeros have no effect.

    Returns:
        63 bits of a hash of (seed, *place), by NumPy's `SeedSequence`.
    """
    return derive_seeds(seed, *place, count=1)[0]


def derive_seeds(seed: int, *place: int, count: int) -> list[int]:
    """Return the seeds of several independent streams of noise at one place; the first is `derive_seed`."""
    states = np.random.SeedSequence((seed, *place)).generate_state(count, np.uint64)
    return [int(state >> np.uint64(1)) for state in states]
