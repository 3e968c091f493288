"""The weights of the last step and of the kept epoch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor

from pyro_vae._checks import NonFiniteLossError
from pyro_vae.training.best_epoch import BestEpoch
from pyro_vae.training.program_weights import ProgramWeights

__all__ = ["KeptWeights"]


class KeptWeights:
    """Loads the weights of the kept epoch after training, and saves those of the last step for resuming.

    Args:
        programs: Weights of the programs.
        best: The kept epoch.
    """

    def __init__(self, programs: ProgramWeights, best: BestEpoch) -> None:
        self._programs, self._best = programs, best
        self._last: dict[str, Tensor] | None = None

    def of_last_step(self) -> dict[str, Tensor]:
        """Return the weights of the last step by name, also if the programs have those of the kept epoch."""
        return self._programs.copy() if self._last is None else self._last

    def load(self, weights: dict[str, Tensor]) -> None:
        """Load weights of `of_last_step`."""
        self._programs.put(weights)
        self._last = None

    def restore_last_step(self) -> None:
        """Load the weights of the last step if the programs have those of the kept epoch."""
        if self._last is not None:
            self.load(self._last)

    @contextmanager
    def loaded_at_end(self) -> Iterator[None]:
        """Load the kept epoch's weights at the end; after `NonFiniteLossError` the weights are unchanged."""
        failed = False
        try:
            yield
        except NonFiniteLossError:
            failed = True
            raise
        finally:
            if self._best.weights and not failed:
                self._last = self._programs.copy()
                self._programs.put(self._best.weights)
