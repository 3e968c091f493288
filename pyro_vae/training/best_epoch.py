"""The epoch whose weights are kept, and when training ends for want of a better one."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from torch import Tensor

from pyro_vae._checks import NonFiniteLossError, check, check_choice, check_integer
from pyro_vae.objectives import Objective

__all__ = ["KEEP", "BestEpoch", "kept_by"]

KEEP = ("auto", "best-elbo", "best-loss", "last")
"""Rules for which epoch's weights are kept."""


def kept_by(keep: str, objective: Objective, validated: bool) -> str:
    """Return the rule that `keep` stands for: "best-elbo", "best-loss" or "last".

    "auto" is the largest validation ELBO where minus the loss is the ELBO, the smallest validation loss where it is
    something else, and the last epoch without validation rows.

    Args:
        keep: One of `KEEP`.
        objective: What is trained.
        validated: Whether there are validation rows.

    Raises:
        InputError: If `keep` is unknown, or needs validation rows and there are none.
    """
    check_choice(keep, KEEP, "keep")
    check(
        validated or not keep.startswith("best"),
        f"Expected validation data with keep={keep!r}, which compares epochs by it; got none. Use keep='last'.",
    )
    check(
        objective.is_bound or keep != "best-elbo",
        f"Expected keep='best-loss' or 'last' with {type(objective).__name__}, which has no ELBO; got {keep!r}.",
    )
    if keep != "auto":
        return keep
    if not validated:
        return "last"
    return "best-elbo" if objective.is_elbo else "best-loss"


class BestEpoch:
    """The weights to keep of the epochs so far, and whether patience is used up.

    Args:
        keep: One of `KEEP`; see `kept_by`.
        objective: What is trained.
        validated: Whether there are validation rows.
        patience: Epochs without a better value after which training ends, or None.

    Attributes:
        kept_by: "best-elbo", "best-loss" or "last".
        criterion: The validation number by which epochs are compared, "elbo" (larger is better) or "loss" (smaller).
            With "last" it decides about patience alone.
        epoch: The epoch, counted from 1, whose weights are kept; 0 before the first one.
        weights: Those weights by name.
    """

    def __init__(self, keep: str, objective: Objective, validated: bool, patience: int | None = None) -> None:
        self.kept_by = kept_by(keep, objective, validated)
        rule = kept_by("auto", objective, True) if self.kept_by == "last" else self.kept_by
        self.criterion = rule.removeprefix("best-")
        self.patience = math.inf if patience is None else check_integer(patience, "patience")
        self.epoch = 0
        self.weights: dict[str, Tensor] = {}
        self._value = -math.inf
        self._improved = 0

    def update(self, epoch: int, terms: dict[str, float], weights: Callable[[], dict[str, Tensor]]) -> None:
        """Take in a finished epoch.

        Args:
            epoch: Its number, counted from 1.
            terms: "elbo" or "loss", whichever is the criterion, nats per example.
            weights: Returns a copy of the weights that `terms` was measured with.

        Raises:
            NonFiniteLossError: If the criterion is not finite.
        """
        value = terms[self.criterion]
        if not math.isfinite(value):
            name = {"elbo": "ELBO", "loss": "loss"}[self.criterion]
            raise NonFiniteLossError(
                f"The validation {name} is {value} after epoch {epoch}, though the training loss is finite. "
                "Lower --lr, raise --scale-floor, or look for extreme values in the validation rows."
            )
        value = value if self.criterion == "elbo" else -value
        better = value > self._value
        if better:
            self._value, self._improved = value, epoch
        if better or self.kept_by == "last":
            self.epoch, self.weights = epoch, weights()

    def is_exhausted(self, epoch: int) -> bool:
        """Return whether patience is used up after so many epochs."""
        return epoch - self._improved >= self.patience

    def state_dict(self) -> dict[str, Any]:
        """Return what is needed to go on."""
        return {
            "epoch": self.epoch,
            "weights": self.weights,
            "value": self._value,
            "improved": self._improved,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go back to where `state_dict` was taken; version 0.1.0 kept the best ELBO and wrote no more than that."""
        self.epoch, self.weights = state["epoch"], state["weights"]
        self._value = state["value"] if "value" in state else state["elbo"]
        self._improved = state.get("improved", self.epoch)
