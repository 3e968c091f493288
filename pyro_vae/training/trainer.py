"""The training loop, with a state that can be taken out, saved and put back."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from pyro_vae._checks import NonFiniteLossError, check, check_integer, check_positive
from pyro_vae._programs import num_inputs, parameters_of
from pyro_vae.compiled import CompiledGradients, Evaluation, Gradients, uncompiled
from pyro_vae.data.adapters import TrainingBatches
from pyro_vae.data.batches import Batches
from pyro_vae.objectives import ELBO, ElboEstimate, Loss, collect_elbo, non_finite_site
from pyro_vae.processes import ALONE, Processes
from pyro_vae.training.averaging import AveragedGradients
from pyro_vae.training.callbacks import Callback
from pyro_vae.training.optimizer import FusedAdamW
from pyro_vae.training.random_state import random_state, set_random_state
from pyro_vae.training.result import FitResult
from pyro_vae.training.schedule import Schedule

__all__ = ["OptimizerFactory", "Trainer"]

CHECK_EVERY = 50
"""Steps on a GPU between two looks at whether all was finite."""

OptimizerFactory = Callable[[list[Tensor]], torch.optim.Optimizer]


class _Step(NamedTuple):
    """A step that has been taken and not been looked at."""

    number: int
    batch: tuple[Tensor, ...]
    noise: dict[str, Any]
    failed: Tensor


@dataclass
class _Best:
    """The best epoch so far by validation ELBO, and its weights."""

    epoch: int = 0
    elbo: float = -math.inf
    weights: dict[str, Tensor] = field(default_factory=dict)


class Trainer:
    """Takes steps along the gradient of a loss, epoch after epoch.

    Args:
        loss: An objective bound to a model and a guide, on its device.
        train: Batches, tuples of tensors.
        validation: Blocks of rows, or None.
        epochs: Passes over the training rows.
        optimizer: Function from the parameters to a `torch.optim.Optimizer`.
        schedule: The learning rate over time.
        clip_norm: Largest Euclidean norm of the whole gradient, or None.
        patience: Epochs without a better validation ELBO after which training ends, or None.
        seed: Of all noise of training.
        compiled: Whether loss and gradients are traced and compiled.
        processes: Those that train together; `train` and `validation` give this one's share.
        callbacks: Called after steps and epochs.
    """

    def __init__(
        self,
        loss: Loss,
        train: TrainingBatches,
        validation: Iterable[Sequence[Tensor]] | None,
        *,
        epochs: int,
        optimizer: OptimizerFactory,
        schedule: Schedule,
        clip_norm: float | None,
        patience: int | None,
        seed: int,
        compiled: bool = False,
        processes: Processes = ALONE,
        callbacks: Sequence[Callback] = (),
    ) -> None:
        self.loss = loss
        self.train = train
        self.validation = validation
        self.epochs = check_integer(epochs, "epochs")
        self.schedule = schedule
        self.clip_norm = math.inf if clip_norm is None else check_positive(clip_norm, "clip_norm")
        self.patience = math.inf if patience is None else check_integer(patience, "patience")
        self.seed = seed
        self.processes = processes
        self.callbacks = callbacks
        # Labels come along in a batch; programs that do not take them are called without.
        taken = [n for n in (num_inputs(loss.model), num_inputs(loss.guide)) if n is not None]
        self._num_inputs = min(taken, default=None)
        self._dtype = next((p.dtype for p in loss.parameters() if p.is_floating_point()), torch.float32)
        first = self._inputs(next(iter(train.epoch(0))))
        self.parameters = parameters_of(loss.model, loss.guide, *first)
        check(bool(self.parameters), "Expected a model or a guide with parameters to train; got none.")
        self._start_alike()
        self.gradients: Gradients | AveragedGradients = Gradients(loss, self.parameters)
        self._bound = Gradients(
            ELBO(max_plate_nesting=loss.objective.max_plate_nesting)(loss.model, loss.guide), ()
        )
        if compiled:
            self.gradients = CompiledGradients(loss, self.parameters, first)
        if processes.count > 1:
            self.gradients = AveragedGradients(self.gradients, processes, self._num_rows)
        if compiled and validation is not None:
            # Traced, not compiled: of a thousand rows at a time the products are all that takes time.
            block = self._inputs(next(iter(validation)))
            self._bound = CompiledGradients(self._bound.loss, (), block, uncompiled)
        self.optimizer = optimizer(self.parameters)
        self._peaks = [group["lr"] for group in self.optimizer.param_groups]
        self.epoch = 0
        self.step = 0
        self.rows_done = 0
        self.seconds = 0.0
        self.history: list[dict[str, Any]] = []
        self.best = _Best()
        self.stopped = ""
        self._reason = "another process"
        device = first[0].device
        self._sums = torch.zeros(3, dtype=torch.float64, device=device)
        self._progress = torch.zeros((), device=device)
        self._failed = torch.zeros((), device=device)
        self._unchecked: list[_Step] = []
        # Reading a value waits for a GPU, and costs nothing on a CPU.
        self._check_every = CHECK_EVERY if device.type == "cuda" else 1
        self._random_state: dict[str, Any] | None = None
        # Whether other code than ours runs between two steps, so that the programs may have changed.
        self._touched = not isinstance(train, Batches) or any(c.touches_programs for c in callbacks)
        self._unchanged = False

    def run(self) -> FitResult:
        """Train until the last epoch, or until patience or a callback ends it; keep the best weights."""
        for callback in self.callbacks:
            callback.on_start(self)
        try:
            with self._own_random_state(), _training_mode(self.loss):
                while self.epoch < self.epochs and not self.stopped:
                    self._run_epoch()
        finally:
            for callback in self.callbacks:
                callback.on_end(self)
        if self.stopped in ("", "patience"):
            self.load_weights(self.best.weights)
        return FitResult(
            self.history,
            self.best.epoch,
            self.stopped or "epochs",
            self.seconds,
            compile_seconds=self.gradients.seconds,
            note=self.gradients.note,
        )

    def stop(self, reason: str) -> None:
        """Ask the loop to end after the current step; several processes end together, after the next."""
        if isinstance(self.gradients, AveragedGradients):
            self.gradients.wants_to_stop, self._reason = True, reason
        else:
            self.stopped = reason

    def running_terms(self) -> dict[str, float]:
        """Return the running epoch's mean terms so far, nats per example."""
        _, reconstruction, kl = (self._sums / max(self.rows_done, 1)).tolist()
        return {"elbo": reconstruction - kl, "reconstruction": reconstruction, "kl": kl}

    def modules(self) -> tuple[nn.Module, nn.Module]:
        """Return model and guide where both are modules; functions keep their parameters in Pyro's store."""
        model, guide = self.loss.model, self.loss.guide
        assert isinstance(model, nn.Module)
        assert isinstance(guide, nn.Module)
        return model, guide

    def weights(self) -> dict[str, Tensor]:
        """Return a copy of all that is trained and of the modules' buffers, by name."""
        named = self.loss.state_dict() | dict(enumerate_named("param", self._outside_modules()))
        return {name: value.detach().clone() for name, value in named.items()}

    @torch.no_grad()
    def load_weights(self, weights: dict[str, Tensor]) -> None:
        """Put a copy of the weights back."""
        outside = dict(enumerate_named("param", self._outside_modules()))
        self.loss.load_state_dict({name: value for name, value in weights.items() if name not in outside})
        for name, parameter in outside.items():
            parameter.copy_(weights[name])

    def state_dict(self) -> dict[str, Any]:
        """Return all that is needed to go on bit for bit: tensors, numbers and strings only."""
        self._check()
        return {
            "weights": self.weights(),
            "optimizer": self.optimizer.state_dict(),
            "epoch": self.epoch,
            "step": self.step,
            "rows_done": self.rows_done,
            "sums": self._sums.clone(),
            "seconds": self.seconds,
            "history": self.history,
            "best": {"epoch": self.best.epoch, "elbo": self.best.elbo, "weights": self.best.weights},
            "stopped": self.stopped if self.stopped == "patience" else "",
            "random": self._random_state or random_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go back to where `state_dict` was taken."""
        self.load_weights(state["weights"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.epoch, self.step, self.rows_done = state["epoch"], state["step"], state["rows_done"]
        self._sums.copy_(state["sums"])
        self.seconds, self.history = state["seconds"], list(state["history"])
        self.best = _Best(**state["best"])
        self.stopped = state["stopped"]
        self._random_state = state["random"]

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
        line = self._measure_epoch()
        elbo = line.get("validation", line["train"])["elbo"]
        if not math.isfinite(elbo):
            raise NonFiniteLossError(
                f"The validation ELBO is {elbo} after epoch {self.epoch + 1}, though the training loss is finite. "
                "Lower --lr, raise --scale-floor, or look for extreme values in the validation rows."
            )
        self.seconds = before + time.monotonic() - started
        self.history.append(line | {"seconds": round(self.seconds, 3)})
        self._close_epoch(elbo)
        for callback in self.callbacks:
            callback.on_epoch(self)

    def _take_step(self, batch: tuple[Tensor, ...]) -> None:
        done, total = self.epoch * len(self.train) + self.step, self.epochs * len(self.train)
        if self.processes.count > 1:
            # Noise by place, so that a state without the random numbers of the others is enough to go on.
            torch.manual_seed(self.processes.seed(self.seed, self.epoch, self.step))
        noise = random_state()
        # The memory of these, still in the processor's cache, is where the next gradients go.
        for parameter in self.parameters:
            parameter.grad = None
        progress = self._progress.fill_(done / total)
        evaluation = self.gradients(*batch, progress=progress, unchanged=self._unchanged)
        self._unchanged = not self._touched
        # Once one has failed, all later steps leave the weights as they are.
        self._failed = (
            torch.maximum(self._failed, evaluation.failed) if self._unchecked else evaluation.failed
        )
        self._unchecked.append(_Step(self.step, batch, noise, self._failed))
        if len(self._unchecked) >= self._check_every:
            self._check()
            if isinstance(self.gradients, AveragedGradients) and self.gradients.stopping:
                self.stopped = self._reason
        for group, peak in zip(self.optimizer.param_groups, self._peaks, strict=True):
            group["lr"] = peak * self.schedule(done, total)
        self._update(evaluation)
        self._sums += evaluation.sums
        self.rows_done += len(evaluation.terms.kl) if self.processes.count == 1 else self._num_rows()
        self.step += 1

    @torch.no_grad()
    def _start_alike(self) -> None:
        for parameter in self.parameters if self.processes.count > 1 else ():
            parameter.copy_(self.processes.from_first(parameter))

    def _num_rows(self) -> int:
        """Return how many rows the step has in all processes."""
        batches: Any = self.train  # nothing but `Batches` is shared
        return min(batches.batch_size, batches.num_examples - self.step * batches.batch_size)

    def _update(self, evaluation: Evaluation) -> None:
        """Take the optimizer's step along the clipped gradient, unless this or an earlier one is not finite."""
        for parameter, gradient in zip(self.parameters, evaluation.gradients, strict=True):
            parameter.grad = gradient
        scale = (evaluation.norm / self.clip_norm).clamp_min(1).float() if self.clip_norm < math.inf else None
        failed = self._failed if self._unchecked else None
        optimizer: Any = self.optimizer
        # A fused optimizer clips, and leaves out a step that failed, in its one pass over the weights.
        if isinstance(optimizer, FusedAdamW):
            optimizer.update(evaluation.gradients, scale, failed)
            return
        if getattr(optimizer, "_step_supports_amp_scaling", False):
            optimizer.grad_scale, optimizer.found_inf = scale, failed
        else:
            self._check()
            if scale is not None:
                torch._foreach_div_([p.grad for p in self.parameters if p.grad is not None], scale)
        optimizer.step()

    def _check(self) -> None:
        """Raise where a step since the last look had a loss or a gradient that is not finite."""
        steps, self._unchecked = self._unchecked, []
        if steps and bool(self._failed):
            raise self._non_finite(next(step for step in steps if bool(step.failed)))

    def _measure_epoch(self) -> dict[str, Any]:
        self._check()
        line: dict[str, Any] = {
            "epoch": self.epoch + 1,
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            "loss": float(self._sums[0]) / self.rows_done,
            "train": self.running_terms(),
        }
        if self.validation is not None:
            line["validation"] = self._validate(self.validation).summary()
        return line

    def _close_epoch(self, elbo: float) -> None:
        self.epoch, self.step, self.rows_done = self.epoch + 1, 0, 0
        self._sums.zero_()
        # Without a validation split the last weights are kept: the training ELBO nearly always prefers them.
        if self.validation is None or elbo > self.best.elbo or not self.best.weights:
            self.best = _Best(self.epoch, elbo, self.weights())
        elif self.epoch - self.best.epoch >= self.patience:
            self.stopped = "patience"

    def _validate(self, validation: Iterable[Sequence[Tensor]]) -> ElboEstimate:
        self.loss.eval()
        blocks = (self._inputs(block) for block in validation)
        end = torch.ones_like(self._progress)
        # The same noise every epoch: two epochs then differ by their weights alone.
        seed = self.processes.seed(self.seed)
        own = collect_elbo(lambda *block: self._bound(*block, progress=end).terms, blocks, seed)
        self.loss.train()
        return ElboEstimate(*(self.processes.gather(part) for part in (own.reconstruction, own.kl)))

    def _inputs(self, batch: Sequence[Tensor]) -> tuple[Tensor, ...]:
        taken = batch[: self._num_inputs]
        return tuple(part.to(self._dtype) if part.is_floating_point() else part for part in taken)

    def _outside_modules(self) -> list[Tensor]:
        """Return the parameters that plain functions hold in Pyro's store."""
        inside = {id(parameter) for parameter in self.loss.parameters()}
        return [parameter for parameter in self.parameters if id(parameter) not in inside]

    def _non_finite(self, step: _Step) -> NonFiniteLossError:
        """Run the failed step again with the same noise to find the site; the weights are still good."""
        set_random_state(step.noise)
        by_handlers = Gradients(self.loss, self.parameters)
        gradients = by_handlers(*step.batch, progress=self._progress).gradients
        names = {id(parameter): name for name, parameter in self.loss.named_parameters()}
        found = zip(self.parameters, gradients, strict=True)
        failed = (p for p, gradient in found if gradient is not None and not torch.isfinite(gradient).all())
        bad = next((names.get(id(p), "of a function") for p in failed), "none")
        set_random_state(step.noise)
        site = non_finite_site(self.loss, *step.batch)
        if self.processes.count > 1 and bad == "none":
            return NonFiniteLossError(
                "The loss or its gradient is not finite in another process; see its message."
            )
        return NonFiniteLossError(
            f"The loss or its gradient is not finite in epoch {self.epoch + 1}, step {step.number + 1}: first at site "
            f"{site!r}, first bad gradient at parameter {bad!r}. The weights of the step before are kept. "
            "Lower --lr, raise --scale-floor, or look for extreme values in the data."
        )

    @contextmanager
    def _own_random_state(self) -> Iterator[None]:
        with torch.random.fork_rng():
            if self._random_state is None:
                torch.manual_seed(self.processes.seed(self.seed))
            else:
                set_random_state(self._random_state)
                self._random_state = None
            try:
                yield
            finally:
                self._random_state = random_state()


def enumerate_named(name: str, tensors: Iterable[Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Yield ("name.0", first), ("name.1", second), ..."""
    return ((f"{name}.{number}", tensor) for number, tensor in enumerate(tensors))


@contextmanager
def _training_mode(loss: Loss) -> Iterator[None]:
    """Put the programs in training mode, and in evaluation mode afterwards."""
    loss.train()
    try:
        yield
    finally:
        loss.eval()
