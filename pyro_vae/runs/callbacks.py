"""What a run does as it trains: writes its folder, and stops when it is told to."""

from __future__ import annotations

import json
import signal
import time
from types import FrameType
from typing import Any

from pyro_vae.checkpoint import nulled, save_state, save_weights, write_atomically
from pyro_vae.processes import ALONE, Processes
from pyro_vae.runs.folder import RunFolder
from pyro_vae.runs.interruption import SIGNALS
from pyro_vae.training import Callback, Trainer

__all__ = ["Checkpoints", "StopOnSignal"]


class Checkpoints(Callback):
    """Writes the run folder as training goes: a line an epoch, and the state every so many seconds.

    Args:
        folder: Where to write.
        seconds: Time between two states; the last one is always written when training stops.
    """

    touches_programs = False

    def __init__(self, folder: RunFolder, seconds: float = 30.0) -> None:
        self.folder = folder
        self.seconds = seconds
        self._saved_at = time.monotonic()
        self._best_epoch = 0

    def on_start(self, trainer: Trainer) -> None:
        """Cut the lines of epochs that a resumed state has not seen."""
        lines = "".join(json.dumps(nulled(line)) + "\n" for line in trainer.history)
        with write_atomically(self.folder.metrics) as temporary:
            temporary.write_text(lines, encoding="utf-8")

    def on_step(self, trainer: Trainer) -> None:
        """Save when it is time."""
        if time.monotonic() - self._saved_at >= self.seconds:
            self.save(trainer)

    def on_epoch(self, trainer: Trainer) -> None:
        """Add the epoch's line."""
        self.folder.append_metrics(trainer.history[-1])

    def save(self, trainer: Trainer) -> None:
        """Write the state, and the best weights where there are new ones."""
        if trainer.best.epoch > self._best_epoch:
            save_weights(self.folder.weights, *trainer.modules(), trainer.best.weights)
            self._best_epoch = trainer.best.epoch
        save_state(self.folder.state, trainer.state_dict())
        self._saved_at = time.monotonic()


class StopOnSignal(Callback):
    """Ends training after the step in which SIGINT or SIGTERM came; a second one ends the process at once.

    Of several processes all end where one got a signal, and further ones are left unheard: the launcher sends each on.

    Args:
        processes: Those that train together.
    """

    touches_programs = False

    def __init__(self, processes: Processes = ALONE) -> None:
        self.processes = processes
        self.received: signal.Signals | None = None
        self._before: dict[signal.Signals, Any] = {}

    def on_start(self, trainer: Trainer) -> None:
        """Take the signals over."""
        self._before = {number: signal.signal(number, self._receive) for number in SIGNALS}

    def on_step(self, trainer: Trainer) -> None:
        """Stop training where a signal has come."""
        if self.received is not None:
            trainer.stop(self.received.name)

    def on_end(self, trainer: Trainer) -> None:
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
