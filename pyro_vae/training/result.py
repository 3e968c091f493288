"""What training leaves behind."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pyro_vae.training.metrics import not_finite_note

__all__ = ["FitResult"]


@dataclass(frozen=True)
class FitResult:
    """What `fit` returns.

    Args:
        history: One dict an epoch: "epoch", "seconds", "learning_rate", "loss" (what the objective made of the batches,
            which is minus a bound for some objectives only), "train" and (where there is a validation split)
            "validation" with "elbo", "reconstruction", "kl" of weight one, the latter also with "loss" (at the end of
            any KL warm-up) where epochs are compared by it; nats per example. Under `Reconstruction` "error" and
            "squared_norm" (of the codes) stand in place of the first three. With metrics also "metrics", a number
            by name, in the metric's own unit, in the epochs in which they were measured.
        best_epoch: The epoch, counted from 1, whose weights the programs now have.
        stopped: Why training ended: "epochs", "patience", or what a callback gave as its reason.
        seconds: Time spent training, earlier parts of a resumed run included.
        compile_seconds: Time spent tracing and compiling, in this part of a resumed run.
        kept_by: How that epoch was chosen: "best-elbo" (the largest validation ELBO), "best-loss" (the smallest
            validation loss) or "last".
        kept_metrics: Metrics of the weights that the programs now have, where they were not measured in that epoch.
        note: Why the programs ran by Pyro's handlers though compiling was asked for; empty where they did not.
    """

    history: list[dict[str, Any]]
    best_epoch: int
    stopped: str
    seconds: float
    compile_seconds: float = field(default=0.0, kw_only=True)
    kept_by: str = field(default="best-elbo", kw_only=True)
    kept_metrics: dict[str, float] = field(default_factory=dict, kw_only=True)
    note: str = field(default="", kw_only=True)

    @property
    def metrics(self) -> dict[str, float]:
        """The metrics of the kept weights by name.

        Empty where there are none, and where a callback ended training and their epoch was not measured.
        """
        kept = (line for line in self.history if line["epoch"] == self.best_epoch)
        return dict(next(kept, {}).get("metrics", self.kept_metrics))

    @property
    def metrics_note(self) -> str:
        """A sentence on metrics that were not finite in some epochs; empty where all were."""
        return not_finite_note(self.history)

    @property
    def early_note(self) -> str:
        """A sentence where the best epoch lies in the first tenth of those that were run; empty where it does not."""
        if self.kept_by == "last" or self.best_epoch > len(self.history) / 10:
            return ""
        criterion = "ELBO" if self.kept_by == "best-elbo" else "loss"
        return (
            f"The best epoch by validation {criterion} is {self.best_epoch} of {len(self.history)}, in the first "
            "tenth: the programs overfit from the start, or what is trained is not what epochs are compared by."
        )
