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
    """Ends training after the step in which SIGINT or SIGTERM is received; a second signal ends the process at once.

    If one of several processes receives a signal, all stop. Further signals are ignored, because the launcher forwards
    each signal to all processes.

    Args:
        processes: Processes that train together.
    """

    touches_programs = False

    def __init__(self, processes: Processes = SINGLE_PROCESS) -> None:
        self.processes = processes
        self.received: signal.Signals | None = None
        self._before: dict[signal.Signals, Any] = {}

    def on_start(self, trainer: TrainerState) -> None:
        """Install the signal handlers."""
        self._before = {number: signal.signal(number, self._receive) for number in SIGNALS}

    def on_step(self, trainer: TrainerState) -> None:
        """Stop training if a signal was received."""
        if self.received is not None:
            trainer.stop(self.received.name)

    def on_end(self, trainer: TrainerState) -> None:
        """Restore the signal handlers."""
        if self.processes.count > 1:
            # The common result of all processes: a signal of any of them, or none if training had finished before.
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
