"""The training loop, with a state that can be taken out, saved and put back."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from pyro_vae._checks import NonFiniteLossError, check, check_integer, check_positive
from pyro_vae._programs import num_inputs, parameters_of
from pyro_vae.data.adapters import TrainingBatches
from pyro_vae.objectives import ElboEstimate, Loss, estimate_elbo, non_finite_site
from pyro_vae.training.callbacks import Callback
from pyro_vae.training.schedule import Schedule

__all__ = ["FitResult", "OptimizerFactory", "Trainer"]

OptimizerFactory = Callable[[list[Tensor]], torch.optim.Optimizer]


@dataclass(frozen=True)
class FitResult:
    """What `fit` returns.

    Args:
        history: One dict an epoch: "epoch", "seconds", "learning_rate", "train" and (where there is a
            validation split) "validation" with "elbo", "reconstruction", "kl"; nats per example.
        best_epoch: The epoch, counted from 1, whose weights the programs now have.
        stopped: Why training ended: "epochs", "patience", or what a callback gave as its reason.
        seconds: Time spent training, earlier parts of a resumed run included.
    """

    history: list[dict[str, Any]]
    best_epoch: int
    stopped: str
    seconds: float


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
        self.callbacks = callbacks
        # Labels come along in a batch; programs that do not take them are called without.
        taken = [n for n in (num_inputs(loss.model), num_inputs(loss.guide)) if n is not None]
        self._num_inputs = min(taken, default=None)
        self._dtype = next((p.dtype for p in loss.parameters() if p.is_floating_point()), torch.float32)
        first = self._inputs(next(iter(train.epoch(0))))
        self.parameters = parameters_of(loss.model, loss.guide, *first)
        check(bool(self.parameters), "Expected a model or a guide with parameters to train; got none.")
        self.optimizer = optimizer(self.parameters)
        self._peaks = [group["lr"] for group in self.optimizer.param_groups]
        self.epoch = 0
        self.step = 0
        self.rows_done = 0
        self.seconds = 0.0
        self.history: list[dict[str, Any]] = []
        self.best = _Best()
        self.stopped = ""
        self._sums = torch.zeros(2, dtype=torch.float64, device=first[0].device)
        self._random_state: dict[str, Any] | None = None

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
        return FitResult(self.history, self.best.epoch, self.stopped or "epochs", self.seconds)

    def stop(self, reason: str) -> None:
        """Ask the loop to end after the current step."""
        self.stopped = reason

    def running_terms(self) -> dict[str, float]:
        """Return the running epoch's mean terms so far, nats per example."""
        reconstruction, kl = (self._sums / max(self.rows_done, 1)).tolist()
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
            "random": self._random_state or _random_state(),
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
        noise = torch.get_rng_state()
        self.optimizer.zero_grad(set_to_none=True)
        terms = self.loss.terms(*batch)
        terms.loss.backward()
        norm = nn.utils.get_total_norm([p.grad for p in self.parameters if p.grad is not None])
        if not torch.isfinite(norm + terms.loss.detach()):
            raise self._non_finite(batch, noise)
        # Clipped only now: scaling by a norm that is not finite would spoil every gradient, the good ones too.
        nn.utils.clip_grads_with_norm_(self.parameters, self.clip_norm, norm)
        share = self.schedule(self.epoch * len(self.train) + self.step, self.epochs * len(self.train))
        for group, peak in zip(self.optimizer.param_groups, self._peaks, strict=True):
            group["lr"] = peak * share
        self.optimizer.step()
        self.step += 1
        self.rows_done += len(terms.kl)
        self._sums += torch.stack(
            [part.sum(dtype=torch.float64) for part in (terms.reconstruction, terms.kl)]
        )

    def _measure_epoch(self) -> dict[str, Any]:
        line: dict[str, Any] = {
            "epoch": self.epoch + 1,
            "learning_rate": self.optimizer.param_groups[0]["lr"],
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
            self.stop("patience")

    def _validate(self, validation: Iterable[Sequence[Tensor]]) -> ElboEstimate:
        self.loss.eval()
        blocks = (self._inputs(block) for block in validation)
        nesting = self.loss.objective.max_plate_nesting
        # The same noise every epoch: two epochs then differ by their weights alone.
        estimate = estimate_elbo(
            self.loss.model, self.loss.guide, blocks, max_plate_nesting=nesting, seed=self.seed
        )
        self.loss.train()
        return estimate

    def _inputs(self, batch: Sequence[Tensor]) -> tuple[Tensor, ...]:
        taken = batch[: self._num_inputs]
        return tuple(part.to(self._dtype) if part.is_floating_point() else part for part in taken)

    def _outside_modules(self) -> list[Tensor]:
        """Return the parameters that plain functions hold in Pyro's store."""
        inside = {id(parameter) for parameter in self.loss.parameters()}
        return [parameter for parameter in self.parameters if id(parameter) not in inside]

    def _non_finite(self, batch: tuple[Tensor, ...], noise: Tensor) -> NonFiniteLossError:
        """Run the failed step again with the same noise to find the site; the weights are still good."""
        gradients = {name: p.grad for name, p in self.loss.named_parameters() if p.grad is not None}
        bad = next((name for name, grad in gradients.items() if not torch.isfinite(grad).all()), "none")
        torch.set_rng_state(noise)
        site = non_finite_site(self.loss, *batch)
        return NonFiniteLossError(
            f"The loss or its gradient is not finite in epoch {self.epoch + 1}, step {self.step + 1}: first at site "
            f"{site!r}, first bad gradient at parameter {bad!r}. The weights of the step before are kept. "
            "Lower --lr, raise --scale-floor, or look for extreme values in the data."
        )

    @contextmanager
    def _own_random_state(self) -> Iterator[None]:
        with torch.random.fork_rng():
            if self._random_state is None:
                torch.manual_seed(self.seed)
            else:
                _set_random_state(self._random_state)
                self._random_state = None
            try:
                yield
            finally:
                self._random_state = _random_state()


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


def _random_state() -> dict[str, Any]:
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {"cpu": torch.get_rng_state(), "cuda": cuda}


def _set_random_state(state: dict[str, Any]) -> None:
    torch.set_rng_state(state["cpu"])
    if torch.cuda.is_available() and state["cuda"]:
        torch.cuda.set_rng_state_all(state["cuda"])
