"""The rule of training steps: gradients, optimizer, learning rate and mean of the weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from pyro_vae.compiled import Cache, CompiledGradients, Gradients
from pyro_vae.objectives import Loss
from pyro_vae.training.accumulated_gradients import AccumulatedGradients
from pyro_vae.training.learning_rate import Schedule
from pyro_vae.training.stepper import OptimizerFactory
from pyro_vae.training.weight_average import WeightAverage

__all__ = ["StepRule"]


@dataclass(frozen=True)
class StepRule:
    """How a batch changes the weights.

    Attributes:
        optimizer: Function from the parameters to a `torch.optim.Optimizer`.
        schedule: The learning rate over time.
        clip_norm: Maximum Euclidean norm of the whole gradient, or None.
        average: Range of the mean of the weights; see `WeightAverage`.
        compiled: Whether loss and gradients are traced and compiled.
        part_size: Rows of a batch that are evaluated at once, in this process; None for all.
    """

    optimizer: OptimizerFactory
    schedule: Schedule
    clip_norm: float | None = None
    average: float = 0.0
    compiled: bool = False
    part_size: int | None = None

    def gradients(
        self, loss: Loss, parameters: Sequence[Tensor], inputs: tuple[Tensor, ...]
    ) -> Gradients | AccumulatedGradients:
        """Return the gradients of this process, for example inputs of at most `part_size` rows."""
        single = (
            CompiledGradients(loss, parameters, inputs, cache=Cache.of_user())
            if self.compiled
            else Gradients(loss, parameters)
        )
        return single if self.part_size is None else AccumulatedGradients(single, self.part_size)

    def weight_average(self, loss: Loss, parameters: Sequence[Tensor]) -> WeightAverage:
        """Return the mean of the weights and of running statistics, such as those of batch normalization."""
        floating = (b for b in loss.buffers() if b.is_floating_point() and b.isfinite().all())
        return WeightAverage([*parameters, *floating], self.average)
