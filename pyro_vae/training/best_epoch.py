"""Selection of the epoch whose weights are kept, and early stopping."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from torch import Tensor

from pyro_vae._checks import NonFiniteLossError, check, check_choice, check_integer
from pyro_vae.objectives import Objective

__all__ = ["KEEP", "BestEpoch", "kept_by"]

KEEP = ("auto", "best-elbo", "best-loss", "last")
"""Rules for the choice of the kept epoch."""


def kept_by(keep: str, objective: Objective, validated: bool) -> str:
    """Return the rule of `keep`: "best-elbo", "best-loss" or "last".

    "auto" is "best-elbo" if minus the loss is the ELBO, else "best-loss"; without validation rows it is "last".

    Args:
        keep: One of `KEEP`.
        objective: The training objective.
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
    """The best weights so far, and early stopping.

    Args:
        keep: One of `KEEP`; see `kept_by`.
        objective: The training objective.
        validated: Whether there are validation rows.
        patience: Number of epochs without improvement after which training ends, or None.

    Attributes:
        kept_by: "best-elbo", "best-loss" or "last".
        criterion: The validation number by which epochs are compared, "elbo" (larger is better) or "loss" (smaller).
            With "last" it is only used for patience.
        epoch: The kept epoch, counted from 1; 0 before the first one.
        weights: Weights of the kept epoch by name.
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
        """Update with a finished epoch.

        Args:
            epoch: Its number, counted from 1.
            terms: Contains the criterion, "elbo" or "loss", nats per example.
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
        """Return whether patience is exhausted after `epoch` epochs."""
        return epoch - self._improved >= self.patience

    def state_dict(self) -> dict[str, Any]:
        """Return the state for resuming."""
        return {
            "epoch": self.epoch,
            "weights": self.weights,
            "value": self._value,
            "improved": self._improved,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state of `state_dict`; states of version 0.1.0 contain the best ELBO only."""
        self.epoch, self.weights = state["epoch"], state["weights"]
        self._value = state["value"] if "value" in state else state["elbo"]
        self._improved = state.get("improved", self.epoch)
