"""The result of training."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pyro_vae.training.metrics import not_finite_note

__all__ = ["FitResult"]


@dataclass(frozen=True)
class FitResult:
    """The result of `fit`.

    Args:
        history: One dict per epoch: "epoch", "seconds", "learning_rate", "loss" (mean training loss of the batches,
            which is minus a bound for some objectives only), "train" and (with validation rows)
            "validation" with "elbo", "reconstruction", "kl" of weight one, the latter also with "loss" (at the end of
            any KL warm-up) if it is the criterion; nats per example. With `Reconstruction`, "error" and
            "squared_norm" (of the codes) replace the first three. With metrics also "metrics", numbers by name in the
            metric's unit, for epochs in which they were measured.
        best_epoch: The epoch, counted from 1, whose weights the programs have.
        stopped: Reason for the end of training: "epochs", "patience", or the reason of a callback.
        seconds: Time spent training, earlier parts of a resumed run included.
        compile_seconds: Time spent tracing and compiling, in this part of a resumed run.
        kept_by: Criterion for that epoch: "best-elbo" (the largest validation ELBO), "best-loss" (the smallest
            validation loss) or "last".
        kept_metrics: Metrics of the kept weights, if they were not measured in that epoch.
        note: Why compilation fell back to Pyro's handlers; empty if it did not.
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

        Empty without metrics, and if a callback ended training and their epoch was not measured.
        """
        kept = (line for line in self.history if line["epoch"] == self.best_epoch)
        return dict(next(kept, {}).get("metrics", self.kept_metrics))

    @property
    def metrics_note(self) -> str:
        """A message about non-finite metrics, or an empty string."""
        return not_finite_note(self.history)

    @property
    def early_note(self) -> str:
        """A message if the best epoch is in the first tenth of the epochs, else an empty string."""
        if self.kept_by == "last" or self.best_epoch > len(self.history) / 10:
            return ""
        criterion = "ELBO" if self.kept_by == "best-elbo" else "loss"
        return (
            f"The best epoch by validation {criterion} is {self.best_epoch} of {len(self.history)}, in the first "
            "tenth: the programs overfit from the start, or what is trained is not what epochs are compared by."
        )
