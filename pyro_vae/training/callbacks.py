"""Callbacks of training."""

from __future__ import annotations

import time
from typing import Any, Protocol

from torch import nn

from pyro_vae.progress import progress_bar
from pyro_vae.training.best_epoch import BestEpoch
from pyro_vae.training.weight_average import WeightAverage

__all__ = ["Callback", "ProgressBar", "TrainerState"]


class Batches(Protocol):
    """The training rows."""

    @property
    def num_examples(self) -> int:
        """Number of rows."""


class TrainerState(Protocol):
    """The interface of the trainer for callbacks.

    Attributes:
        train: The training rows.
        epochs: Number of passes over them.
        epoch: The running epoch, counted from 0.
        step: Finished steps of the running epoch.
        rows_done: Finished rows of the running epoch.
        seconds: Time spent training.
        history: One dict per epoch, as in `FitResult`.
        stopped: Reason for the end of training, empty before.
        best: The best weights so far.
        average: The running mean of the weights.
    """

    epochs: int
    epoch: int
    step: int
    rows_done: int
    seconds: float
    history: list[dict[str, Any]]
    stopped: str
    best: BestEpoch
    average: WeightAverage

    @property
    def train(self) -> Batches:
        """The training rows."""

    def stop(self, reason: str) -> None:
        """End training after the current step."""

    def running_terms(self) -> dict[str, float]:
        """Return the running epoch's mean terms so far, nats per example."""

    def modules(self) -> tuple[nn.Module, nn.Module]:
        """Return model and guide."""

    def state_dict(self) -> dict[str, Any]:
        """Return the full state for resuming."""


class Callback:
    """Base class of callbacks. Subclasses override methods, and may call `trainer.stop(reason)`.

    Attributes:
        touches_programs: Whether it may change model or guide. If no callback does, a compiled run checks for changes
            once per epoch instead of in each step.
    """

    touches_programs = True

    def on_start(self, trainer: TrainerState) -> None:
        """Called once, before the first step."""

    def on_step(self, trainer: TrainerState) -> None:
        """Called after each step."""

    def on_epoch(self, trainer: TrainerState) -> None:
        """Called after each epoch, when its record is in `trainer.history`.

        The programs have the validated weights; with weight averaging these are the mean, and a change made here
        affects the mean only, not the training weights.
        """

    def on_end(self, trainer: TrainerState) -> None:
        """Called once at the end, also if training was stopped or failed; the programs have the kept weights."""


class ProgressBar(Callback):
    """A progress bar on stderr, in rows: ELBO and KL of the running epoch, and rows per second.

    Args:
        interval: Seconds between two readings of the running sums (on a GPU each reading synchronizes).
    """

    touches_programs = False

    def __init__(self, interval: float = 1.0) -> None:
        self.interval = interval
        self._read_at = 0.0

    def on_start(self, trainer: TrainerState) -> None:
        """Open the bar at the finished rows of a resumed run."""
        total = trainer.epochs * trainer.train.num_examples
        self.bar = progress_bar(total, "rows", "training", initial=self._rows(trainer))

    def on_step(self, trainer: TrainerState) -> None:
        """Advance the bar, and update the running means."""
        self.bar.update(self._rows(trainer) - self.bar.n)
        now = time.monotonic()
        if now - self._read_at >= self.interval:
            self._read_at = now
            self._show(trainer)

    def on_end(self, trainer: TrainerState) -> None:
        """Close the bar."""
        self.bar.update(self._rows(trainer) - self.bar.n)
        self.bar.close()

    def _show(self, trainer: TrainerState) -> None:
        terms = trainer.running_terms()
        first = "elbo" if "elbo" in terms else next(iter(terms))
        shown = [name for name in terms if name != "reconstruction"]
        text = ", ".join(f"{name.replace('_', ' ')} {terms[name]:.2f}" for name in shown)
        if trainer.history and "validation" in trainer.history[-1]:
            text += f", validation {first} {trainer.history[-1]['validation'][first]:.2f}"
        measured: dict[str, float] = next(
            (line["metrics"] for line in reversed(trainer.history) if "metrics" in line), {}
        )
        for name, value in measured.items():
            text += f", {name} {value:.4g}" if not name.endswith("_se") else ""
        self.bar.set_description_str(f"epoch {trainer.epoch + 1}/{trainer.epochs}", refresh=False)
        self.bar.set_postfix_str(text)

    @staticmethod
    def _rows(trainer: TrainerState) -> int:
        return trainer.epoch * trainer.train.num_examples + trainer.rows_done
