"""Ends training on SIGINT or SIGTERM."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any

from pyro_vae.experiment.interruption import SIGNALS
from pyro_vae.processes import SINGLE_PROCESS, Processes
from pyro_vae.training import Callback, TrainerState

__all__ = ["StopOnSignal"]


class StopOnSignal(Callback):
    """Ends training after the step in which SIGINT or SIGTERM came; a second one ends the process at once.

    Of several processes all end where one got a signal, and further ones are left unheard: the launcher sends each on.

    Args:
        processes: Processes that train together.
    """

    touches_programs = False

    def __init__(self, processes: Processes = SINGLE_PROCESS) -> None:
        self.processes = processes
        self.received: signal.Signals | None = None
        self._before: dict[signal.Signals, Any] = {}

    def on_start(self, trainer: TrainerState) -> None:
        """Take the signals over."""
        self._before = {number: signal.signal(number, self._receive) for number in SIGNALS}

    def on_step(self, trainer: TrainerState) -> None:
        """Stop training where a signal has come."""
        if self.received is not None:
            trainer.stop(self.received.name)

    def on_end(self, trainer: TrainerState) -> None:
        """Give the signals back."""
        if self.processes.count > 1:
            # What all have agreed on: another process's signal, or none where training was done first.
            own = self.received or signal.SIGTERM
            self.received = None if trainer.stopped in ("", "patience") else own
        if self.processes.count == 1 or self.received is None:
            self._restore()

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.received = signal.Signals(number)
        if self.processes.count == 1:
            self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
