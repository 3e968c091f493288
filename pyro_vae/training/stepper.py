"""One step of training, skipped if the gradient is not finite."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pyro_vae._checks import NonFiniteLossError, check_positive
from pyro_vae._compat import takes_scale
from pyro_vae._layout import laid_out_as
from pyro_vae.compiled import Evaluation, Gradients
from pyro_vae.objectives import Loss, non_finite_site
from pyro_vae.training.accumulated_gradients import AccumulatedGradients
from pyro_vae.training.averaged_gradients import AveragedGradients
from pyro_vae.training.optimizer import FusedAdamW
from pyro_vae.training.random_state import random_state, set_random_state

__all__ = ["OptimizerFactory", "StepPosition", "Stepper"]

CHECK_EVERY = 50
"""Steps on a GPU between checks for non-finite values."""

OptimizerFactory = Callable[[list[Tensor]], torch.optim.Optimizer]


class StepPosition(NamedTuple):
    """Position of a step in training: epoch and step, counted from 0."""

    epoch: int
    step: int


class _Step(NamedTuple):
    """A step that has not been checked yet."""

    position: StepPosition
    batch: tuple[Tensor, ...]
    noise: dict[str, Any]
    failed: Tensor


class Stepper:
    """Take steps along the clipped gradient of a loss.

    After the first non-finite gradient, updates are skipped. The flag is read after every step on a CPU, and every
    `CHECK_EVERY` steps on a GPU, where reading a value synchronizes.

    Args:
        loss: An objective bound to a model and a guide, on its device.
        parameters: The parameters to train.
        gradients: Function that returns loss and gradients of a batch.
        optimizer: Function from the parameters to a `torch.optim.Optimizer`.
        clip_norm: Maximum Euclidean norm of the whole gradient, or None.
        check_every: Steps between checks for non-finite values; by default 1 on a CPU, `CHECK_EVERY` on a GPU.
    """

    def __init__(
        self,
        loss: Loss,
        parameters: list[Tensor],
        gradients: Gradients | AccumulatedGradients | AveragedGradients,
        optimizer: OptimizerFactory,
        clip_norm: float | None = None,
        check_every: int | None = None,
    ) -> None:
        self.loss = loss
        self.parameters = parameters
        self.gradients = gradients
        self.optimizer = optimizer(parameters)
        self.clip_norm = math.inf if clip_norm is None else check_positive(clip_norm, "clip_norm")
        self._peaks = [group["lr"] for group in self.optimizer.param_groups]
        device = parameters[0].device
        self._progress = torch.zeros((), device=device)
        self._failed = torch.zeros((), device=device)
        self._unchecked: list[_Step] = []
        self.check_every = check_every or (CHECK_EVERY if device.type == "cuda" else 1)

    @property
    def learning_rate(self) -> float:
        """The first group's learning rate in the last step."""
        rate: float = self.optimizer.param_groups[0]["lr"]
        return rate

    @property
    def is_checked(self) -> bool:
        """Whether all steps have been checked."""
        return not self._unchecked

    def __call__(
        self,
        batch: tuple[Tensor, ...],
        position: StepPosition,
        progress: float,
        rate: float = 1.0,
        unchanged: bool = False,
    ) -> Evaluation:
        """Take a step, and return its loss and gradients.

        Args:
            batch: Arguments of the programs.
            position: Epoch and step, for the message of a step that fails.
            progress: Fraction of training done, in [0, 1].
            rate: Factor of the peak learning rates.
            unchanged: Whether the programs are known to be unchanged since the last call (see `Gradients`).

        Raises:
            NonFiniteLossError: If this step, or one since the last check, had a non-finite loss or gradient.
        """
        noise = random_state()
        # Frees memory that is still in the processor's cache, for the next gradients.
        for parameter in self.parameters:
            parameter.grad = None
        evaluation = self.gradients(*batch, progress=self._progress.fill_(progress), unchanged=unchanged)
        self._failed = (
            torch.maximum(self._failed, evaluation.failed) if self._unchecked else evaluation.failed
        )
        self._unchecked.append(_Step(position, batch, noise, self._failed))
        if len(self._unchecked) >= self.check_every:
            self.check()
        for group, peak in zip(self.optimizer.param_groups, self._peaks, strict=True):
            group["lr"] = peak * rate
        self._update(evaluation)
        return evaluation

    def check(self) -> None:
        """Check the steps since the last check.

        Raises:
            NonFiniteLossError: If one had a non-finite loss or gradient.
        """
        steps, self._unchecked = self._unchecked, []
        if steps and bool(self._failed):
            raise self._non_finite(next(step for step in steps if bool(step.failed)))

    def _update(self, evaluation: Evaluation) -> None:
        gradients = [
            None if gradient is None else laid_out_as(gradient, parameter)
            for parameter, gradient in zip(self.parameters, evaluation.gradients, strict=True)
        ]
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient
        scale = (evaluation.norm / self.clip_norm).clamp_min(1).float() if self.clip_norm < math.inf else None
        failed = self._failed if self._unchecked else None
        optimizer: Any = self.optimizer
        # Fused optimizers clip, and skip failed steps, in their pass over the weights.
        if isinstance(optimizer, FusedAdamW):
            optimizer.update(gradients, scale, failed)
            return
        if takes_scale(optimizer):
            optimizer.grad_scale, optimizer.found_inf = scale, failed
        else:
            self.check()
            if scale is not None:
                for gradient in (p.grad for p in self.parameters if p.grad is not None):
                    gradient.div_(scale)
        optimizer.step()

    def _non_finite(self, step: _Step) -> NonFiniteLossError:
        """Repeat the failed step with the same noise to find the site; the weights are still finite."""
        set_random_state(step.noise)
        by_handlers = Gradients(self.loss, self.parameters)
        for part in self.gradients.parts(step.batch):
            noise = random_state()
            evaluation = by_handlers(*part, progress=self._progress)
            if evaluation.failed:
                break
        names = {id(parameter): name for name, parameter in self.loss.named_parameters()}
        found = zip(self.parameters, evaluation.gradients, strict=True)
        failed = (p for p, gradient in found if gradient is not None and not torch.isfinite(gradient).all())
        bad = next((names.get(id(p), "of a function") for p in failed), "none")
        set_random_state(noise)
        site = non_finite_site(self.loss, *part)
        if isinstance(self.gradients, AveragedGradients) and bad == "none":
            return NonFiniteLossError(
                "The loss or its gradient is not finite in another process; see its message."
            )
        epoch, number = step.position
        return NonFiniteLossError(
            f"The loss or its gradient is not finite in epoch {epoch + 1}, step {number + 1}: "
            f"first at site {site!r}, first bad gradient at parameter {bad!r}. The weights of the step before are "
            "kept. Lower --lr, raise --scale-floor, or look for extreme values in the data."
        )
