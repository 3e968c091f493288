"""The training loop, with a state that can be saved and restored."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pyro_vae._programs import training_mode
from pyro_vae.data.adapters import TrainingBatches
from pyro_vae.data.batch_order import Batches
from pyro_vae.data.entry import Entry
from pyro_vae.objectives import Loss
from pyro_vae.processes import SINGLE_PROCESS, Processes
from pyro_vae.training.averaged_gradients import AveragedGradients
from pyro_vae.training.best_epoch import BestEpoch
from pyro_vae.training.callbacks import Callback
from pyro_vae.training.kept_weights import KeptWeights
from pyro_vae.training.metrics import Measurement
from pyro_vae.training.program_weights import ProgramWeights
from pyro_vae.training.random_state import RandomStream
from pyro_vae.training.result import FitResult
from pyro_vae.training.start import starting_parameters
from pyro_vae.training.step_rule import StepRule
from pyro_vae.training.stepper import Stepper, StepPosition
from pyro_vae.training.validation import Validation, worth_tracing

__all__ = ["Trainer"]


class Trainer:
    """The training loop over epochs and batches.

    Args:
        loss: An objective bound to a model and a guide, on its device.
        train: Batches, tuples of tensors.
        validation: Blocks of rows, or None.
        entry: Conversion of batches to the inputs of the programs.
        epochs: Number of passes over the training rows.
        rule: How a batch changes the weights.
        best: The rule for the kept epoch and for early stopping.
        measure: Metrics measured after epochs.
        seed: Seed of all noise of training.
        processes: The processes that train together; `train` and `validation` give this one's part.
        callbacks: Called after steps and epochs.
    """

    def __init__(
        self,
        loss: Loss,
        train: TrainingBatches,
        validation: Iterable[Sequence[Tensor]] | None,
        *,
        entry: Entry,
        epochs: int,
        rule: StepRule,
        best: BestEpoch,
        measure: Measurement,
        seed: int,
        processes: Processes = SINGLE_PROCESS,
        callbacks: Sequence[Callback] = (),
    ) -> None:
        self.loss = loss
        self.train = train
        self.validation = validation
        self.epochs = epochs
        self.schedule = rule.schedule
        self.best = best
        self.seed = seed
        self.processes = processes
        self.callbacks = callbacks
        self._entry = entry
        self._measure = measure
        first = tuple(tensor[: rule.part_size] for tensor in self._inputs(next(iter(train.epoch(0)))))
        self.parameters = starting_parameters(loss, first, processes)
        own = rule.gradients(loss, self.parameters, first)
        gradients = AveragedGradients(own, processes, self._num_rows) if processes.count > 1 else own
        self.stepper = Stepper(loss, self.parameters, gradients, rule.optimizer, rule.clip_norm)
        self.average = rule.weight_average(loss, self.parameters)
        self._programs = ProgramWeights(loss, self.parameters)
        self._weights = KeptWeights(self._programs, best)
        self._validate = None if validation is None else self._validation(validation, rule.compiled)
        self.epoch = self.step = self.rows_done = 0
        self.seconds = 0.0
        self.history: list[dict[str, Any]] = []
        self.stopped = ""
        self._reason = "another process"
        self._sums = torch.zeros(3, dtype=torch.float64, device=first[0].device)
        self._random = RandomStream(processes.seed(seed))
        # Whether user code runs between steps, so that the programs may have changed.
        self._touched = not isinstance(train, Batches) or any(c.touches_programs for c in callbacks)
        self._unchanged = False

    def run(self) -> FitResult:
        """Train until the last epoch, or until patience or a callback ends it.

        Afterwards, also after `KeyboardInterrupt`, the programs have the kept epoch's weights (those of the last step
        if no epoch was finished), and `state_dict` returns the state after the last step, for resuming. After
        `NonFiniteLossError` they have the weights of the previous step.
        """
        self._weights.restore_last_step()
        for callback in self.callbacks:
            callback.on_start(self)
        try:
            with self._weights.loaded_at_end(), self._random.active(), training_mode(self.loss):
                while self.epoch < self.epochs and not self.stopped:
                    self._run_epoch()
        finally:
            for callback in self.callbacks:
                callback.on_end(self)
        return FitResult(
            self.history,
            self.best.epoch,
            self.stopped or "epochs",
            self.seconds,
            compile_seconds=self.stepper.gradients.seconds,
            note=self.stepper.gradients.note,
            kept_by=self.best.kept_by,
            kept_metrics=self._metrics_of_kept(),
        )

    def _metrics_of_kept(self) -> dict[str, float]:
        """Return the metrics of the kept weights if their epoch was not measured.

        Not if a callback stopped training, since little time may be left, as after a signal.
        """
        kept = [line for line in self.history if line["epoch"] == self.best.epoch]
        measured = any("metrics" in line for line in kept)
        if not self._measure or not kept or measured or self.stopped not in ("", "patience"):
            return {}
        return self._measure(self.loss.model, self.loss.guide)

    def stop(self, reason: str) -> None:
        """End the loop after the current step; several processes end together, after the next step."""
        gradients = self.stepper.gradients
        if isinstance(gradients, AveragedGradients):
            gradients.wants_to_stop, self._reason = True, reason
        else:
            self.stopped = reason

    def running_terms(self) -> dict[str, float]:
        """Return the running epoch's mean terms so far, by the names of `Objective.named`; nats per example."""
        _, reconstruction, kl = (self._sums / max(self.rows_done, 1)).tolist()
        return self.loss.objective.named(reconstruction, kl)

    def modules(self) -> tuple[nn.Module, nn.Module]:
        """Return model and guide where both are modules; functions keep their parameters in Pyro's store."""
        model, guide = self.loss.model, self.loss.guide
        assert isinstance(model, nn.Module)
        assert isinstance(guide, nn.Module)
        return model, guide

    def state_dict(self) -> dict[str, Any]:
        """Return the state for bit-exact resuming: tensors, numbers and strings only.

        It is the state after the last step, also in `on_epoch` and after `run`, when the programs have other weights.
        """
        self.stepper.check()
        with self.average.in_place(False):
            weights = self._weights.of_last_step()
            average = self.average.state_dict()
        return {
            "weights": weights,
            "optimizer": self.stepper.optimizer.state_dict(),
            "average": average,
            "epoch": self.epoch,
            "step": self.step,
            "rows_done": self.rows_done,
            "sums": self._sums.clone(),
            "seconds": self.seconds,
            "history": self.history,
            "best": self.best.state_dict(),
            "stopped": self.stopped if self.stopped == "patience" else "",
            "random": self._random.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state of `state_dict`."""
        self._weights.load(state["weights"])
        self.stepper.optimizer.load_state_dict(state["optimizer"])
        self.average.load_state_dict(state["average"])
        self.epoch, self.step, self.rows_done = state["epoch"], state["step"], state["rows_done"]
        self._sums.copy_(state["sums"])
        self.seconds, self.history = state["seconds"], list(state["history"])
        self.best.load_state_dict(state["best"])
        # The patience may be longer than before.
        self.stopped = state["stopped"] if self.best.is_exhausted(self.epoch) else ""
        self._random.load_state_dict(state["random"])

    def _run_epoch(self) -> None:
        started, before = time.monotonic(), self.seconds
        self._unchanged = False
        for batch in self.train.epoch(self.epoch, start=self.step):
            self._take_step(self._inputs(batch))
            self.seconds = before + time.monotonic() - started
            for callback in self.callbacks:
                callback.on_step(self)
            if self.stopped:
                return
        with self.average.in_place():
            line = self._measure_epoch()
            measured = line.get("validation", line["train"] | {"loss": line["loss"]})
            self.best.update(self.epoch + 1, measured, self._programs.copy)
            self.seconds = before + time.monotonic() - started
            self.history.append(line | {"seconds": round(self.seconds, 3)})
            self._close_epoch()
            for callback in self.callbacks:
                callback.on_epoch(self)

    def _take_step(self, batch: tuple[Tensor, ...]) -> None:
        done, total = self.epoch * len(self.train) + self.step, self.epochs * len(self.train)
        if self.processes.count > 1:
            # Seeded by position, so that training resumes without the random states of the other processes.
            torch.manual_seed(self.processes.seed(self.seed, self.epoch, self.step))
        position, rate = StepPosition(self.epoch, self.step), self.schedule(done, total)
        evaluation = self.stepper(batch, position, done / total, rate, self._unchanged)
        self._unchanged = not self._touched
        self.average.update()
        gradients = self.stepper.gradients
        if isinstance(gradients, AveragedGradients) and self.stepper.is_checked and gradients.stopping:
            self.stopped = self._reason
        self._sums += evaluation.sums
        self.rows_done += len(evaluation.terms.kl) if self.processes.count == 1 else self._num_rows()
        self.step += 1

    def _validation(self, blocks: Iterable[Sequence[Tensor]], compiled: bool) -> Validation:
        return Validation(
            self.loss,
            lambda: map(self._inputs, blocks),
            with_loss=self.best.criterion == "loss",
            traced=compiled and worth_tracing(self.epochs, blocks),
            seed=self.processes.seed(self.seed),
            processes=self.processes,
        )

    def _num_rows(self) -> int:
        """Return the number of rows of the step in all processes."""
        batches: Any = self.train  # nothing but `Batches` is shared
        return min(batches.batch_size, batches.num_examples - self.step * batches.batch_size)

    def _measure_epoch(self) -> dict[str, Any]:
        self.stepper.check()
        line: dict[str, Any] = {
            "epoch": self.epoch + 1,
            "learning_rate": self.stepper.learning_rate,
            "loss": float(self._sums[0]) / self.rows_done,
            "train": self.running_terms(),
        }
        if self._validate is not None:
            line["validation"] = self._validate()
        if self._measure.is_due(self.epoch + 1):
            line["metrics"] = self._measure(self.loss.model, self.loss.guide)
        return line

    def _close_epoch(self) -> None:
        self.epoch, self.step, self.rows_done = self.epoch + 1, 0, 0
        self._sums.zero_()
        if self.best.is_exhausted(self.epoch):
            self.stopped = "patience"

    def _inputs(self, batch: Sequence[Tensor]) -> tuple[Tensor, ...]:
        return self._entry.batch(tuple(batch))
