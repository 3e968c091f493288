"""Writes the run folder while training runs."""

from __future__ import annotations

import json
import time

from pyro_vae.experiment.checkpoint import save_state, save_weights
from pyro_vae.experiment.run_folder import RunFolder
from pyro_vae.storage import null_non_finite, write_atomically
from pyro_vae.training import Callback, TrainerState

__all__ = ["Checkpoints"]


class Checkpoints(Callback):
    """Writes the run folder during training: one line per epoch, and the state at regular intervals.

    Args:
        folder: Output folder.
        seconds: Time between two states; the last one is always written when training stops.
    """

    touches_programs = False

    def __init__(self, folder: RunFolder, seconds: float = 30.0) -> None:
        self.folder = folder
        self.seconds = seconds
        self._saved_at = time.monotonic()
        self._best_epoch = 0

    def on_start(self, trainer: TrainerState) -> None:
        """Remove the lines of epochs after the resumed state."""
        lines = "".join(json.dumps(null_non_finite(line)) + "\n" for line in trainer.history)
        with write_atomically(self.folder.metrics) as temporary:
            temporary.write_text(lines, encoding="utf-8")

    def on_step(self, trainer: TrainerState) -> None:
        """Save the state if the interval has passed."""
        if time.monotonic() - self._saved_at >= self.seconds:
            self.save(trainer)

    def on_epoch(self, trainer: TrainerState) -> None:
        """Add the epoch's line."""
        self.folder.append_metrics(trainer.history[-1])

    def save(self, trainer: TrainerState) -> None:
        """Write the state, and the best weights if they are new."""
        if trainer.best.epoch > self._best_epoch:
            save_weights(self.folder.weights, *trainer.modules(), trainer.best.weights)
            self._best_epoch = trainer.best.epoch
        save_state(self.folder.state, trainer.state_dict())
        self._saved_at = time.monotonic()
