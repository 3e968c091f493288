"""Saving, restoring and fixing of the random state of all devices."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
import torch

__all__ = ["RandomStream", "fixed_random_state", "random_state", "set_random_state"]


@cache
def _has_gpu() -> bool:
    return torch.cuda.is_available()  # a call takes 0.02 ms


def random_state() -> dict[str, Any]:
    """Return torch's random state on every device, as tensors that can be saved."""
    cuda = torch.cuda.get_rng_state_all() if _has_gpu() else []
    return {"cpu": torch.get_rng_state(), "cuda": cuda}


def set_random_state(state: dict[str, Any]) -> None:
    """Restore a state of `random_state`; states of GPUs only if available."""
    torch.set_rng_state(state["cpu"])
    if _has_gpu() and state["cuda"]:
        torch.cuda.set_rng_state_all(state["cuda"])


@contextmanager
def fixed_random_state(seed: int) -> Iterator[None]:
    """Seed the global random states of Python, NumPy and torch inside the block, and restore them."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 (other code may use it)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)  # noqa: NPY002


class RandomStream:
    """A random state of torch that is separate from the global one and can be saved.

    Args:
        seed: Seed of its start.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._state: dict[str, Any] | None = None

    @contextmanager
    def active(self) -> Iterator[None]:
        """Make it the global random state inside the block; the next block continues from its end."""
        with torch.random.fork_rng():
            if self._state is None:
                torch.manual_seed(self._seed)
            else:
                set_random_state(self._state)
                self._state = None
            try:
                yield
            finally:
                self._state = random_state()

    def state_dict(self) -> dict[str, Any]:
        """Return the state, inside and outside of the block."""
        return self._state or random_state()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a state in the next block."""
        self._state = state
